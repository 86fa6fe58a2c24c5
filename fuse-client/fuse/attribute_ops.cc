// Attributes of inodes, and of the file system.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "fuse-client/fuse/operations.h"
#include "fuse-client/fuse/statx_out.h"

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

namespace {

bool isKnown(const Attributes& attributes) {
  return attributes.mode != 0;
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

// The way to the mount's own files, and to its unmounting, leads through the root. So a mount that is cut off from the
// cluster goes on telling what it last knew of that one directory.
Task<void> Operations::getAttributes(Request& request, InodeId inode, bool extended) {
  kj::Promise<Result<Attributes>> asked = client_.attributes(inode, true);
  if (inode == root_ && isKnown(lastRoot_)) {
    auto last = [this]() -> Result<Attributes> { return lastRoot_; };
    asked = asked.exclusiveJoin(client_.whenCutOff().promise().then(kj::mv(last)));
  }
  auto found = co_await kj::mv(asked);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  if (inode == root_) {
    lastRoot_ = found.value();
  }
  co_return extended ? sendExtended(request, found.value()) : sendAttributes(request, found.value());
}

void Operations::sendExtended(Request& request, const Attributes& attributes) {
  const struct stat known = statOf(attributes);
  const auto valid = static_cast<Nanos>(attributeSeconds(attributes) * SECOND);
  auto out = statxOf(known, {attributes.created.seconds, attributes.created.nanos}, valid);
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
  // As with the root's attributes: umount(8) asks for this.
  kj::Promise<Result<SpaceInfo>> asked = client_.space(inode);
  if (isKnown(lastRoot_)) {
    auto last = [this]() -> Result<SpaceInfo> { return lastSpace_; };
    asked = asked.exclusiveJoin(client_.whenCutOff().promise().then(kj::mv(last)));
  }
  auto found = co_await kj::mv(asked);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  lastSpace_ = found.value();
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
