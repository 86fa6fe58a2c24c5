// Locks on a file's bytes, as fcntl(2) and flock(2) have them: who is in whose way, and what a request makes of the
// locks that its owner has. Pure.
#pragma once
#include <compare>
#include <vector>

#include "common/ids.h"
#include "schema/master.capnp.h"

namespace cairn {

// A program, or one of its open file descriptions, as the kernel behind that session tells them apart.
struct LockOwner {
  SessionId session{};
  uint64_t id = 0;
  auto operator<=>(const LockOwner&) const = default;
};

// A lock that is held, or that somebody wants: of type NONE, to be rid of what is held there. A flock is of all bytes.
struct FileLock {
  InodeId inode{};
  wire::LockKind kind = wire::LockKind::POSIX;
  wire::LockType type = wire::LockType::NONE;
  LockOwner owner;
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;  // included
  uint32_t pid = 0;
  bool operator==(const FileLock&) const = default;
};

inline bool sameOwner(const FileLock& a, const FileLock& b) {
  return a.inode == b.inode && a.kind == b.kind && a.owner == b.owner;
}

// Whether `held` keeps `wanted` from being granted. The two kinds know nothing of each other.
bool isInTheWay(const FileLock& held, const FileLock& wanted);
// The first of `held` that is; null when none is.
const FileLock* inTheWay(const std::vector<FileLock>& held, const FileLock& wanted);

// What granting `wanted` does to `held`: pieces of its owner that go, and those that come in their place.
struct LockChange {
  std::vector<FileLock> removed;
  std::vector<FileLock> added;
};
// Ranges of one type that touch become one. Nothing changes where the owner has what it wants already.
LockChange changeOf(const std::vector<FileLock>& held, const FileLock& wanted);

}  // namespace cairn
