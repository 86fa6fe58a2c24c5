// Locks over files in memory: the master's rules, for the programs of one mount. Nobody looks for deadlocks.
#include "tests/mount/memory/memory_locks.h"

#include <algorithm>
#include <cerrno>

namespace cairn {
namespace {

FileLock lockOf(InodeId inode, const LockWish& wish) {
  FileLock lock;
  lock.inode = inode;
  lock.kind = wish.flock ? wire::LockKind::FLOCK : wire::LockKind::POSIX;
  lock.type = static_cast<wire::LockType>(wish.mode);
  lock.owner.id = wish.owner;
  lock.first = wish.first;
  lock.last = wish.last;
  lock.pid = wish.pid;
  return lock;
}

}  // namespace

void MemoryLocks::change(const LockChange& change) {
  for (const auto& gone : change.removed) {
    held_.erase(std::find(held_.begin(), held_.end(), gone));
  }
  held_.insert(held_.end(), change.added.begin(), change.added.end());
  freed_.raise();
}

Status MemoryLocks::lock(InodeId inode, HandleId handle, const LockWish& wish) {
  auto wanted = lockOf(inode, wish);
  bool refused = inTheWay(held_, wanted) != nullptr;
  if (refused) {
    wanted.type = wire::LockType::NONE;
  }
  if (!refused || wish.flock) {
    change(changeOf(held_, wanted));
    through_[wanted.owner.id] = handle;
  }
  return refused ? Status(Error{EAGAIN, {}}) : Status();
}

Task<Status> MemoryLocks::await(InodeId inode, LockWish wish) {
  auto wanted = lockOf(inode, wish);
  while (inTheWay(held_, wanted) != nullptr) {
    co_await freed_.wait();
  }
  co_return Status();
}

LockWish MemoryLocks::test(InodeId inode, LockWish wish) const {
  const FileLock* found = inTheWay(held_, lockOf(inode, wish));
  wish.mode = LockMode::NONE;
  if (found != nullptr) {
    wish.mode = static_cast<LockMode>(found->type);
    wish.pid = found->pid;
    wish.first = found->first;
    wish.last = found->last;
  }
  return wish;
}

void MemoryLocks::unlockAll(InodeId inode, bool flock, uint64_t owner) {
  LockWish nothing;
  nothing.flock = flock;
  nothing.owner = owner;
  change(changeOf(held_, lockOf(inode, nothing)));
}

void MemoryLocks::release(InodeId inode, HandleId handle) {
  for (auto at = through_.begin(); at != through_.end();) {
    auto [owner, last] = *at;
    if (last != handle) {
      ++at;
      continue;
    }
    at = through_.erase(at);
    unlockAll(inode, false, owner);
    unlockAll(inode, true, owner);
  }
}

}  // namespace cairn
