#include "master/namespace/locks.h"

#include <algorithm>

namespace cairn {

namespace {

bool overlap(const FileLock& a, const FileLock& b) {
  return a.first <= b.last && b.first <= a.last;
}

// One ends where the other begins.
bool touch(const FileLock& a, const FileLock& b) {
  return (a.last != UINT64_MAX && a.last + 1 == b.first) || (b.last != UINT64_MAX && b.last + 1 == a.first);
}

}  // namespace

bool isInTheWay(const FileLock& held, const FileLock& wanted) {
  bool exclusive = held.type == wire::LockType::EXCLUSIVE || wanted.type == wire::LockType::EXCLUSIVE;
  return exclusive && wanted.type != wire::LockType::NONE && held.inode == wanted.inode && held.kind == wanted.kind &&
         held.owner != wanted.owner && overlap(held, wanted);
}

const FileLock* inTheWay(const std::vector<FileLock>& held, const FileLock& wanted) {
  auto found = std::find_if(held.begin(), held.end(), [&](auto& lock) { return isInTheWay(lock, wanted); });
  return found == held.end() ? nullptr : &*found;
}

LockChange changeOf(const std::vector<FileLock>& held, const FileLock& wanted) {
  LockChange change;
  FileLock whole = wanted;
  for (const auto& piece : held) {
    bool alike = piece.type == wanted.type;
    if (!sameOwner(piece, wanted) || !(overlap(piece, wanted) || (alike && touch(piece, wanted)))) {
      continue;
    }
    change.removed.push_back(piece);
    if (alike) {
      whole.first = std::min(whole.first, piece.first);
      whole.last = std::max(whole.last, piece.last);
      continue;
    }
    if (piece.first < wanted.first) {
      FileLock& before = change.added.emplace_back(piece);
      before.last = wanted.first - 1;
    }
    if (piece.last > wanted.last) {
      FileLock& after = change.added.emplace_back(piece);
      after.first = wanted.last + 1;
    }
  }
  if (wanted.type != wire::LockType::NONE) {
    change.added.push_back(whole);
  }
  return change.removed == change.added ? LockChange() : change;
}

}  // namespace cairn
