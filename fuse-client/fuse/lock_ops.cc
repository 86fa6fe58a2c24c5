// Locks of fcntl(2), on processes and on open file descriptions, and of flock(2). The master has them all, so they
// count on every mount.
#include <fcntl.h>
#include <sys/file.h>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

constexpr uint64_t LAST_BYTE = INT64_MAX;  // of any file, as the kernel counts

LockMode modeOf(int type) {
  return type == F_WRLCK ? LockMode::EXCLUSIVE : type == F_RDLCK ? LockMode::SHARED : LockMode::NONE;
}

LockWish wishOf(const struct flock& lock, uint64_t owner) {
  LockWish wish;
  wish.mode = modeOf(lock.l_type);
  wish.owner = owner;
  wish.pid = static_cast<uint32_t>(lock.l_pid);
  wish.first = static_cast<uint64_t>(lock.l_start);
  wish.last = lock.l_len == 0 ? LAST_BYTE : wish.first + static_cast<uint64_t>(lock.l_len) - 1;
  return wish;
}

LockWish flockOf(int operation, uint64_t owner, pid_t pid) {
  LockWish wish;
  wish.flock = true;
  int what = operation & ~LOCK_NB;
  wish.mode = what == LOCK_EX ? LockMode::EXCLUSIVE : what == LOCK_SH ? LockMode::SHARED : LockMode::NONE;
  wish.owner = owner;
  wish.pid = static_cast<uint32_t>(pid);
  return wish;
}

struct flock toKernel(const LockWish& lock) {
  struct flock out {};
  out.l_whence = SEEK_SET;
  out.l_type = lock.mode == LockMode::EXCLUSIVE ? F_WRLCK : lock.mode == LockMode::SHARED ? F_RDLCK : F_UNLCK;
  out.l_start = static_cast<off_t>(lock.first);
  out.l_len = lock.last >= LAST_BYTE ? 0 : static_cast<off_t>(lock.last - lock.first + 1);
  out.l_pid = static_cast<pid_t>(lock.pid);
  return out;
}

}  // namespace

void Operations::addLockOps(fuse_lowlevel_ops& table) {
  table.getlk = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file, struct flock* lock) {
    run(request, "getlk", node, [&](Operations& self, Request& r) {
      return self.testLock(r, HandleId{file->fh}, wishOf(*lock, file->lock_owner));
    });
  };
  table.setlk = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file, struct flock* lock, int sleep) {
    run(request, "setlk", node, [&](Operations& self, Request& r) {
      return self.lock(r, HandleId{file->fh}, wishOf(*lock, file->lock_owner), sleep != 0);
    });
  };
  table.flock = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file, int operation) {
    run(request, "flock", node, [&](Operations& self, Request& r) {
      auto wish = flockOf(operation, file->lock_owner, r.context().pid);
      return self.lock(r, HandleId{file->fh}, wish, (operation & LOCK_NB) == 0);
    });
  };
}

Task<void> Operations::testLock(Request& request, HandleId handle, LockWish wish) {
  auto found = co_await client_.testLock(handle, wish);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  auto lock = toKernel(found.value());
  request.lock(lock);
}

// Any signal ends a wait, but not a request that is under way: it may come back with the lock.
Task<void> Operations::lock(Request& request, HandleId handle, LockWish wish, bool waits) {
  for (;;) {
    auto taken = co_await client_.lock(handle, wish);
    if (taken.ok() || taken.code() != EAGAIN || !waits) {
      co_return request.finish(taken);
    }
    request.setInterruptible(true);
    auto freed = co_await client_.awaitLock(handle, wish);
    request.setInterruptible(false);
    if (!freed.ok()) {
      co_return request.fail(freed.error());
    }
  }
}

}  // namespace cairn
