// Attributes of inodes, and of the file system.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

FileTime timeOf(const timespec& time) {
  return FileTime{time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

AttributeChange changeOf(const struct stat& wanted, int which, bool held) {
  AttributeChange change;
  auto take = [&](int fuseBit, uint32_t ourBit) {
    bool given = (which & fuseBit) != 0;
    change.which |= given ? ourBit : 0;
    return given;
  };
  if (take(FUSE_SET_ATTR_MODE, SET_MODE)) {
    change.mode = wanted.st_mode;
  }
  if (take(FUSE_SET_ATTR_UID, SET_UID)) {
    change.uid = wanted.st_uid;
  }
  if (take(FUSE_SET_ATTR_GID, SET_GID)) {
    change.gid = wanted.st_gid;
  }
  if (take(FUSE_SET_ATTR_SIZE, SET_SIZE)) {
    change.sizeBytes = static_cast<uint64_t>(wanted.st_size);
  }
  // The kernel sends "now" together with a time of its own: "now" wins.
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    change.which |= SET_ACCESSED_NOW;
  } else if (take(FUSE_SET_ATTR_ATIME, SET_ACCESSED)) {
    change.accessed = timeOf(wanted.st_atim);
  }
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    change.which |= SET_MODIFIED_NOW;
  } else if (take(FUSE_SET_ATTR_MTIME, SET_MODIFIED)) {
    change.modified = timeOf(wanted.st_mtim);
  }
  take(FUSE_SET_ATTR_CTIME, SET_CHANGED);
  // A chown that changes neither id, or what a write takes away. The kernel says nothing of it: the set-id bits go.
  change.which |= which == 0 ? SET_CHANGED : 0u;
  // As local file systems do, even when the size stays the same.
  if ((change.which & (SET_SIZE | SET_MODIFIED | SET_MODIFIED_NOW)) == SET_SIZE) {
    change.which |= SET_MODIFIED_NOW;
  }
  change.held = held;
  return change;
}

}  // namespace

void Operations::addAttributeOps(fuse_lowlevel_ops& table) {
  table.getattr = [](fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    run(request, "getattr", node, [&](Operations& self, Request& r) {
      return self.getAttributes(r, self.inodeOf(node), self.arrival_.isExtended());
    });
  };
  table.setattr = [](fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which, fuse_file_info* file) {
    auto change = changeOf(*wanted, which, file != nullptr);
    run(request, "setattr", node, [&](Operations& self, Request& r) {
      auto* raw = self.arrival_.arguments<fuse_setattr_in>();
      bool dropSetId = raw != nullptr && (raw->valid & FATTR_KILL_SUIDGID) != 0;
      return self.setAttributes(r, self.inodeOf(node), change, dropSetId || which == 0);
    });
  };
  table.statfs = [](fuse_req_t request, fuse_ino_t node) {
    run(request, "statfs", node, [&](Operations& self, Request& r) { return self.space(r, self.inodeOf(node)); });
  };
}

Task<void> Operations::getAttributes(Request& request, InodeId inode, bool extended) {
  auto found = co_await client_.attributes(inode, true);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  co_return extended ? sendExtended(request, found.value()) : sendAttributes(request, found.value());
}

namespace {

// The answer to FUSE_STATX, as in <linux/fuse.h> of kernels newer than the headers here: what statx(2) fills in.
struct StatxOut {
  uint64_t validSeconds = 0;
  uint32_t validNanos = 0;
  uint32_t flags = 0;
  uint64_t spare[2] = {};
  struct statx stat {};
};
static_assert(sizeof(StatxOut) == 288);

statx_timestamp extendedTime(const timespec& time) {
  statx_timestamp out{};
  out.tv_sec = time.tv_sec;
  out.tv_nsec = static_cast<uint32_t>(time.tv_nsec);
  return out;
}

}  // namespace

void Operations::sendExtended(Request& request, const Attributes& attributes) {
  const struct stat known = statOf(attributes);
  const auto valid = static_cast<Nanos>(attributeSeconds(attributes) * SECOND);
  StatxOut out;
  out.validSeconds = static_cast<uint64_t>(valid / SECOND);
  out.validNanos = static_cast<uint32_t>(valid % SECOND);
  out.stat.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  out.stat.stx_blksize = static_cast<uint32_t>(known.st_blksize);
  out.stat.stx_nlink = static_cast<uint32_t>(known.st_nlink);
  out.stat.stx_uid = known.st_uid;
  out.stat.stx_gid = known.st_gid;
  out.stat.stx_mode = static_cast<uint16_t>(known.st_mode);
  out.stat.stx_ino = known.st_ino;
  out.stat.stx_size = static_cast<uint64_t>(known.st_size);
  out.stat.stx_blocks = static_cast<uint64_t>(known.st_blocks);
  out.stat.stx_atime = extendedTime(known.st_atim);
  out.stat.stx_mtime = extendedTime(known.st_mtim);
  out.stat.stx_ctime = extendedTime(known.st_ctim);
  out.stat.stx_btime = extendedTime({attributes.created.seconds, attributes.created.nanos});
  out.stat.stx_rdev_major = major(known.st_rdev);
  out.stat.stx_rdev_minor = minor(known.st_rdev);
  request.bytes(&out, sizeof out);
}

Task<void> Operations::setAttributes(Request& request, InodeId inode, AttributeChange change, bool dropSetId) {
  auto changed = co_await client_.setAttributes(inode, change, caller(request));
  if (!changed.ok()) {
    co_return request.fail(changed.error());
  }
  bool drop = dropSetId && setIdBits(inode, request) != 0;
  if (!drop) {
    co_return sendAttributes(request, changed.value(), false);
  }
  auto dropped = co_await dropSetIdBits(inode, request);
  if (!dropped.ok()) {
    co_return request.fail(dropped.error());
  }
  auto now = co_await client_.attributes(inode);
  co_return now.ok() ? sendAttributes(request, now.value(), false) : request.fail(now.error());
}

Task<void> Operations::space(Request& request, InodeId inode) {
  auto found = co_await client_.space(inode);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  constexpr unsigned long NAME_BYTES_MAX = 255;
  const SpaceInfo& info = found.value();
  struct statvfs out {};
  out.f_bsize = BLOCK_BYTES;
  out.f_frsize = BLOCK_BYTES;
  out.f_blocks = info.totalBytes / BLOCK_BYTES;
  out.f_bfree = info.availableBytes / BLOCK_BYTES;
  out.f_bavail = out.f_bfree;
  out.f_files = info.filesMax;
  out.f_ffree = info.filesMax > info.files ? info.filesMax - info.files : 0;
  out.f_favail = out.f_ffree;
  out.f_namemax = NAME_BYTES_MAX;
  request.space(out);
}

// Those that the file loses when the caller of this request changes its bytes.
uint32_t Operations::setIdBits(InodeId inode, const Request& request) {
  Node* node = nodes_.find(inode);
  if (node == nullptr || !S_ISREG(node->mode)) {
    return 0;
  }
  uint32_t bits = node->mode & (S_ISUID | S_ISGID);
  bool groupRuns = (node->mode & S_IXGRP) != 0;
  if ((bits & S_ISGID) != 0 && !groupRuns) {  // it makes nothing run as the group: members leave it
    Caller who = caller(request);
    bool among = who.uid == 0 || std::find(who.groups.begin(), who.groups.end(), node->gid) != who.groups.end();
    bits &= ~(among || who.gid == node->gid ? static_cast<uint32_t>(S_ISGID) : 0u);
  }
  return bits;
}

Task<Status> Operations::dropSetIdBits(InodeId inode, Request& request) {
  Node* node = nodes_.find(inode);
  if (node == nullptr) {
    co_return Status();
  }
  AttributeChange change;
  change.which = SET_MODE;
  change.mode = node->mode & ~setIdBits(inode, request);
  change.held = true;
  Caller root;  // the writer may not own the file
  auto changed = co_await client_.setAttributes(inode, change, root);
  if (!changed.ok()) {
    co_return changed.error();
  }
  node = nodes_.find(inode);
  if (node != nullptr) {
    node->mode = changed.value().mode;
  }
  co_return Status();
}

}  // namespace cairn
