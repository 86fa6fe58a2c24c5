#include "master/session/lock_waits.h"

#include <algorithm>
#include <cerrno>

namespace cairn {

Result<uint64_t> LockWaits::add(const FileLock& wanted, Nanos now) {
  if (closesCircle(wanted)) {
    return Error{EDEADLK, "whoever has this lock waits for one of the same owner"};
  }
  uint64_t wait = find(wanted, State::TRIED);
  if (wait != 0 && now < waits_.at(wait).until) {
    called_.erase(wait);
    waits_.at(wait).state = State::WAITING;
    return wait;
  }
  if (waits_.size() >= WAITS_MAX) {
    return Error{ENOLCK, "too many wait for locks"};
  }
  wait = ++last_;
  waits_[wait].wanted = wanted;
  byInode_[wanted.inode].insert(wait);
  byOwner_[wanted.owner].insert(wait);
  return wait;
}

uint64_t LockWaits::find(const FileLock& wanted, State state) const {
  auto all = byOwner_.find(wanted.owner);
  if (all == byOwner_.end()) {
    return 0;
  }
  for (uint64_t wait : all->second) {
    const Wait& candidate = waits_.at(wait);
    if (candidate.state == state && candidate.wanted == wanted) {
      return wait;
    }
  }
  return 0;
}

void LockWaits::remove(uint64_t wait) {
  auto found = waits_.find(wait);
  if (found != waits_.end() && found->second.state == State::WAITING) {
    erase(wait);
  }
}

void LockWaits::erase(uint64_t wait) {
  auto found = waits_.find(wait);
  auto forget = [wait](auto& index, auto key) {
    auto at = index.find(key);
    at->second.erase(wait);
    if (at->second.empty()) {
      index.erase(at);
    }
  };
  forget(byInode_, found->second.wanted.inode);
  forget(byOwner_, found->second.wanted.owner);
  called_.erase(wait);
  waits_.erase(found);
}

void LockWaits::removeAll(SessionId session) {
  std::vector<uint64_t> gone;
  auto first = byOwner_.lower_bound(LockOwner{session, 0});
  for (auto at = first; at != byOwner_.end() && at->first.session == session; ++at) {
    gone.insert(gone.end(), at->second.begin(), at->second.end());
  }
  for (uint64_t wait : gone) {
    erase(wait);
  }
}

std::vector<uint64_t> LockWaits::call(InodeId inode, Nanos now) {
  std::vector<uint64_t> out;
  auto all = byInode_.find(inode);
  if (all == byInode_.end()) {
    return out;
  }
  std::vector<FileLock> taken = locksOn_(inode, wire::LockKind::POSIX);
  auto others = locksOn_(inode, wire::LockKind::FLOCK);
  taken.insert(taken.end(), others.begin(), others.end());
  for (uint64_t number : all->second) {
    Wait& wait = waits_.at(number);
    if (wait.state == State::CALLED) {
      taken.push_back(wait.wanted);  // as if it had it, till its turn is over
    } else if (wait.state == State::WAITING && inTheWay(taken, wait.wanted) == nullptr) {
      wait.state = State::CALLED;
      wait.until = now + TURN;
      called_.insert(number);
      taken.push_back(wait.wanted);
      out.push_back(number);
    }
  }
  return out;
}

void LockWaits::tried(const FileLock& wanted, bool granted) {
  uint64_t wait = find(wanted, State::CALLED);
  if (wait != 0 && granted) {
    erase(wait);
  } else if (wait != 0) {
    waits_.at(wait).state = State::TRIED;
  }
}

std::vector<InodeId> LockWaits::passTime(Nanos now) {
  std::vector<uint64_t> over;
  for (uint64_t wait : called_) {
    if (waits_.at(wait).until <= now) {
      over.push_back(wait);
    }
  }
  std::vector<InodeId> out;
  for (uint64_t wait : over) {
    if (waits_.at(wait).state == State::CALLED) {
      out.push_back(waits_.at(wait).wanted.inode);
    }
    erase(wait);
  }
  return out;
}

std::vector<FileLock> LockWaits::list() const {
  std::vector<FileLock> out;
  for (auto& [number, wait] : waits_) {
    if (wait.state == State::WAITING) {
      out.push_back(wait.wanted);
    }
  }
  return out;
}

void LockWaits::addHolders(const FileLock& wanted, std::set<LockOwner>& found) const {
  for (const auto& lock : locksOn_(wanted.inode, wanted.kind)) {
    if (isInTheWay(lock, wanted)) {
      found.insert(lock.owner);
    }
  }
}

// From owner to owner, along what each of them waits for.
bool LockWaits::closesCircle(const FileLock& wanted) const {
  if (wanted.kind != wire::LockKind::POSIX) {
    return false;
  }
  std::set<LockOwner> seen;
  std::set<LockOwner> next;
  addHolders(wanted, next);
  while (!next.empty()) {
    LockOwner owner = *next.begin();
    next.erase(next.begin());
    if (owner == wanted.owner) {
      return true;
    }
    auto waiting = byOwner_.find(owner);
    if (!seen.insert(owner).second || waiting == byOwner_.end()) {
      continue;
    }
    for (uint64_t wait : waiting->second) {
      const Wait& other = waits_.at(wait);
      if (other.state != State::TRIED && other.wanted.kind == wire::LockKind::POSIX) {
        std::set<LockOwner> holders;
        addHolders(other.wanted, holders);
        next.insert(holders.begin(), holders.end());
      }
    }
  }
  return false;
}

}  // namespace cairn
