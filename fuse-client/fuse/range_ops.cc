// Ranges of open files: fallocate, lseek, copy_file_range; and ioctl, of which there is none.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

// Null for a mode that this file system doesn't have.
const AllocateMode* allocateMode(int mode) {
  static constexpr struct {
    int flags;
    AllocateMode mode;
  } MODES[] = {
      {0, AllocateMode::ALLOCATE},
      {FALLOC_FL_KEEP_SIZE, AllocateMode::KEEP_SIZE},
      {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AllocateMode::PUNCH},
      {FALLOC_FL_ZERO_RANGE, AllocateMode::ZERO},
      {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, AllocateMode::ZERO_KEEP_SIZE},
  };
  for (const auto& known : MODES) {
    if (known.flags == mode) {
      return &known.mode;
    }
  }
  return nullptr;
}

}  // namespace

void Operations::addRangeOps(fuse_lowlevel_ops& table) {
  table.fallocate = [](fuse_req_t request, fuse_ino_t node, int flags, off_t offset, off_t length,
                       fuse_file_info* file) {
    const AllocateMode* mode = allocateMode(flags);
    if (mode == nullptr) {
      fuse_reply_err(request, EOPNOTSUPP);
      return;
    }
    run(request, "fallocate", node, [&](Operations& self, Request& r) {
      return self.allocate(r, self.inodeOf(node), HandleId{file->fh}, *mode, static_cast<uint64_t>(offset),
                           static_cast<uint64_t>(length));
    });
  };
  table.lseek = [](fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* file) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
      fuse_reply_err(request, EINVAL);
      return;
    }
    run(request, "lseek", node, [&](Operations& self, Request& r) {
      return self.seek(r, HandleId{file->fh}, static_cast<uint64_t>(offset),
                       whence == SEEK_DATA ? Whence::DATA : Whence::HOLE);
    });
  };
  table.copy_file_range = [](fuse_req_t request, fuse_ino_t, off_t fromOffset, fuse_file_info* fromFile, fuse_ino_t to,
                             off_t toOffset, fuse_file_info* toFile, size_t length, int) {
    constexpr size_t COPY_BYTES_MAX = 64 << 20;  // the program asks again for the rest, and can be stopped between
    length = std::min(length, COPY_BYTES_MAX);
    run(request, "copy_file_range", to, [&](Operations& self, Request& r) {
      return self.copyRange(r, self.inodeOf(to), HandleId{fromFile->fh}, static_cast<uint64_t>(fromOffset),
                            HandleId{toFile->fh}, static_cast<uint64_t>(toOffset), length);
    });
  };
  table.ioctl = [](fuse_req_t request, fuse_ino_t, unsigned, void*, fuse_file_info*, unsigned, const void*, size_t,
                   size_t) { fuse_reply_err(request, ENOTTY); };
}

Task<void> Operations::allocate(Request& request, InodeId inode, HandleId handle, AllocateMode mode, uint64_t offset,
                                uint64_t length) {
  // The kernel says who loses the set-id bits for writes and truncates only.
  bool drop = request.context().uid != 0 && setIdBits(inode, request) != 0;
  if (drop) {
    auto dropped = co_await dropSetIdBits(inode, request);
    if (!dropped.ok()) {
      co_return request.fail(dropped.error());
    }
  }
  auto status = co_await client_.allocate(handle, mode, offset, length);
  request.finish(status);
}

Task<void> Operations::seek(Request& request, HandleId handle, uint64_t offset, Whence whence) {
  auto found = co_await client_.seek(handle, offset, whence);
  co_return found.ok() ? request.position(static_cast<off_t>(found.value())) : request.fail(found.error());
}

Task<void> Operations::copyRange(Request& request, InodeId inode, HandleId from, uint64_t fromOffset, HandleId to,
                                 uint64_t toOffset, uint64_t length) {
  bool drop = request.context().uid != 0 && setIdBits(inode, request) != 0;
  if (drop) {
    auto dropped = co_await dropSetIdBits(inode, request);
    if (!dropped.ok()) {
      co_return request.fail(dropped.error());
    }
  }
  auto copied = co_await client_.copyRange(from, fromOffset, to, toOffset, length);
  co_return copied.ok() ? request.written(copied.value()) : request.fail(copied.error());
}

}  // namespace cairn
