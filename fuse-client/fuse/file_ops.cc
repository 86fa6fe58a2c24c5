// Open files: open, create, read, write, flush, fsync, release.
#include <fcntl.h>
#include <sys/stat.h>

#include "fuse-client/fuse/operations.h"

namespace cairn {

void Operations::addFileOps(fuse_lowlevel_ops& table) {
  table.open = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    run(request, "open", node, [&](Operations& self, Request& r) {
      auto* raw = self.arrival_.arguments<fuse_open_in>();
      bool dropSetId = raw != nullptr && (raw->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
      return self.open(r, self.inodeOf(node), *file, dropSetId);
    });
  };
  table.create = [](fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
    run(request, "create", parent, name, [&](Operations& self, Request& r) {
      return self.create(r, self.inodeOf(parent), self.arrival_.isTemporary() ? "" : name, mode, *file);
    });
  };
  table.read = [](fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file) {
    run(request, "read", node, [&](Operations& self, Request& r) {
      return self.read(r, HandleId{file->fh}, static_cast<uint64_t>(offset), static_cast<uint32_t>(size));
    });
  };
  table.write = [](fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t offset,
                   fuse_file_info* file) {
    run(request, "write", node, [&](Operations& self, Request& r) {
      auto* raw = self.arrival_.arguments<fuse_write_in>();
      bool dropSetId = raw != nullptr && (raw->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
      bool ofMap = raw != nullptr && (raw->write_flags & FUSE_WRITE_CACHE) != 0;
      auto bytes = self.arrival_.keep(kj::arrayPtr(reinterpret_cast<const kj::byte*>(data), size));
      return self.write(r, self.inodeOf(node), HandleId{file->fh}, static_cast<uint64_t>(offset), kj::mv(bytes),
                        dropSetId, ofMap);
    });
  };
  table.flush = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    run(request, "flush", node,
        [&](Operations& self, Request& r) { return self.flush(r, HandleId{file->fh}, file->lock_owner); });
  };
  table.fsync = [](fuse_req_t request, fuse_ino_t node, int dataOnly, fuse_file_info* file) {
    run(request, "fsync", node,
        [&](Operations& self, Request& r) { return self.fsync(r, HandleId{file->fh}, dataOnly != 0); });
  };
  table.release = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    Operations& self = of(request);
    if (self.noteClosed(HandleId{file->fh})) {
      self.kernel_.closed(self.inodeOf(node));
      self.client_.release(HandleId{file->fh});
    }
    fuse_reply_err(request, 0);
  };
}

uint32_t Operations::openBits(int flags) {
  uint32_t bits = 0;
  if ((flags & O_APPEND) != 0) {
    bits |= OPEN_APPEND;
  }
  if ((flags & (O_SYNC | O_DSYNC)) != 0) {
    bits |= OPEN_SYNC;
  }
  if ((flags & O_ACCMODE) != O_RDONLY) {
    bits |= OPEN_WRITE;
  }
  if ((flags & O_NOATIME) != 0) {
    bits |= OPEN_NO_ACCESS_TIME;
  }
  return bits;
}

void Operations::rememberContents(const Attributes& attributes) {
  Node* node = nodes_.find(attributes.inode);
  if (node != nullptr) {
    node->opened = true;
    node->sizeBytes = attributes.sizeBytes;
    node->modified = attributes.modified;
  }
}

bool Operations::sameContents(const Attributes& attributes) {
  Node* node = nodes_.find(attributes.inode);
  return node != nullptr && node->opened && node->sizeBytes == attributes.sizeBytes &&
         node->modified == attributes.modified;
}

namespace {

// Nothing is read through a descriptor that can't read. Written past the kernel's pages the bytes are seen by nobody
// before this mount has the right to write them.
bool passesCache(int flags) {
  return (flags & O_APPEND) != 0 || (flags & O_ACCMODE) == O_WRONLY;
}

}  // namespace

// What the kernel reads from its pages isn't heard of here.
bool Operations::everyReadCounts(int flags) const {
  return options_.accessTimes == AccessTimes::STRICT && (flags & O_NOATIME) == 0;
}

void Operations::setOpenMode(fuse_file_info& file, const Attributes& attributes) {
  // An appending write goes where the file ends now, which the kernel can't know: it must not put the bytes
  // into its own pages at the offset that it thinks.
  file.direct_io = passesCache(file.flags) || everyReadCounts(file.flags) || kernel_.isContended(attributes.inode);
  // Pages go where the next read has to be heard of.
  bool readCounts = (file.flags & O_NOATIME) == 0 && client_.movesAccessTime(attributes.inode);
  file.keep_cache = !readCounts && sameContents(attributes) && kernel_.mayKeepPages(attributes.inode);
}

namespace {

// Counts a file as open until it turns out that it isn't.
class Opening {
 public:
  Opening(KernelCache& kernel, InodeId inode) : kernel_(kernel), inode_(inode), ready_(kernel.opening(inode)) {}
  ~Opening() noexcept(false) {
    if (!done_) {
      kernel_.closed(inode_);
    }
  }
  KJ_DISALLOW_COPY(Opening);
  kj::Promise<void>& ready() { return ready_; }
  void done() { done_ = true; }

 private:
  KernelCache& kernel_;
  const InodeId inode_;
  kj::Promise<void> ready_;
  bool done_ = false;
};

}  // namespace

Task<void> Operations::open(Request& request, InodeId inode, fuse_file_info file, bool dropSetId) {
  Opening opening(kernel_, inode);
  co_await opening.ready();
  auto found = co_await client_.attributes(inode);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  Attributes attributes = found.value();
  bool truncates = (file.flags & O_TRUNC) != 0 && S_ISREG(attributes.mode);
  if (truncates) {
    AttributeChange change;
    change.which = SET_SIZE | SET_MODIFIED_NOW;
    auto cut = co_await client_.setAttributes(inode, change, caller(request));
    if (!cut.ok()) {
      co_return request.fail(cut.error());
    }
    attributes = cut.value();
    bool drop = dropSetId && setIdBits(inode, request) != 0;
    if (drop) {
      auto dropped = co_await dropSetIdBits(inode, request);
      if (!dropped.ok()) {
        co_return request.fail(dropped.error());
      }
    }
  }
  if (request.answered()) {
    co_return;
  }
  HandleId handle = client_.open(inode, openBits(file.flags));
  file.fh = raw(handle);
  setOpenMode(file, attributes);
  rememberContents(attributes);
  noteOpen(request, handle, inode, InodeId{}, openBits(file.flags));
  if (request.opened(file)) {
    opening.done();
  } else {
    noteClosed(handle);
    client_.release(handle);
  }
}

Task<void> Operations::create(Request& request, InodeId parent, std::string name, uint32_t mode, fuse_file_info file) {
  constexpr size_t NAME_BYTES_MAX = 255;
  if (name.size() > NAME_BYTES_MAX) {
    co_return request.fail(ENAMETOOLONG);
  }
  auto made = co_await client_.create(parent, name, mode, openBits(file.flags), caller(request));
  if (!made.ok()) {
    // The kernel thought that the name was free. Without O_EXCL it must look again and open what is there,
    // with the checks that belong to that: ESTALE makes it do so.
    bool lookAgain = made.code() == EEXIST && (file.flags & O_EXCL) == 0;
    co_return lookAgain ? request.fail(ESTALE) : request.fail(made.error());
  }
  const Attributes& attributes = made.value().attributes;
  file.fh = raw(made.value().handle);
  file.direct_io = passesCache(file.flags) || everyReadCounts(file.flags);
  told(attributes);
  Opening opening(kernel_, attributes.inode);
  auto entry = entryOf(parent, name, attributes);
  noteOpen(request, made.value().handle, attributes.inode, InodeId{}, openBits(file.flags));
  if (!request.created(entry, file)) {
    noteClosed(made.value().handle);
    forget(attributes.inode, 1);
    client_.release(made.value().handle);
    co_return;
  }
  opening.done();
  rememberContents(attributes);
}

Task<void> Operations::read(Request& request, HandleId handle, uint64_t offset, uint32_t length) {
  auto got = co_await client_.read(handle, offset, length);
  if (!got.ok()) {
    co_return request.fail(got.error());
  }
  constexpr size_t PARTS_MAX = 1000;  // the kernel takes 1024 in one reply, one of them is the header
  const auto& parts = got.value().parts();
  if (parts.size() > PARTS_MAX) {
    auto joined = got.value().joined();
    request.bytes(joined.begin(), joined.size());
    co_return;
  }
  std::vector<iovec> pieces;
  pieces.reserve(parts.size());
  for (auto part : parts) {
    pieces.push_back(iovec{const_cast<kj::byte*>(part.begin()), part.size()});
  }
  request.parts(pieces.data(), static_cast<int>(pieces.size()));
}

Task<void> Operations::write(Request& request, InodeId inode, HandleId handle, uint64_t offset, Arrival::Kept data,
                             bool dropSetId, bool ofMap) {
  bool drop = dropSetId && setIdBits(inode, request) != 0;
  if (drop) {
    auto dropped = co_await dropSetIdBits(inode, request);
    if (!dropped.ok()) {
      co_return request.fail(dropped.error());
    }
  }
  auto plain = co_await dropCapability(inode);
  if (!plain.ok()) {
    co_return request.fail(plain.error());
  }
  auto accepted = co_await client_.write(handle, offset, data.bytes(), ofMap);
  kernel_.written(inode);
  co_return accepted.ok() ? request.written(accepted.value()) : request.fail(accepted.error());
}

// The locks go last: whoever gets one next may read what was written under it. They go even if the program doesn't
// live to hear of it: others may have the file open through a descriptor that they inherited, and no other request
// speaks of this program's locks.
Task<void> Operations::flush(Request& request, HandleId handle, uint64_t lockOwner) {
  bool unlocking = false;
  KJ_DEFER({
    if (!unlocking) {
      tasks_.add(unlockUnheard(handle, lockOwner));
    }
  });
  auto status = co_await client_.flush(handle);
  unlocking = true;
  auto unlocked = co_await client_.unlockAll(handle, lockOwner);
  request.finish(status.ok() ? unlocked : status);
}

Task<void> Operations::unlockUnheard(HandleId handle, uint64_t lockOwner) {
  co_await client_.unlockAll(handle, lockOwner);
}

Task<void> Operations::fsync(Request& request, HandleId handle, bool dataOnly) {
  auto status = co_await client_.fsync(handle, dataOnly);
  request.finish(status);
}

}  // namespace cairn
