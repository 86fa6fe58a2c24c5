// LockWaits: who waits for which lock, whose turn it is to try, and who would wait for itself. Pure: time comes with
// each call, what is held is asked for. Only in the leader's memory: who waits asks a new leader again.
//
// When a lock goes, those who wait for it are called in the order in which they came. Who is called tries again by
// itself, so it may be gone, or be forestalled by somebody who didn't wait: those behind it are kept back for TURN at
// most, and who was forestalled gets its old place again.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "master/namespace/locks.h"

namespace cairn {

class LockWaits {
 public:
  static constexpr size_t WAITS_MAX = 65536;
  static constexpr Nanos TURN = 200 * MILLISECOND;
  // The locks of a kind on a file.
  using LocksOn = std::function<std::vector<FileLock>(InodeId, wire::LockKind)>;

  explicit LockWaits(LocksOn locksOn) : locksOn_(std::move(locksOn)) {}

  // A number for the wait. EDEADLK: who has that lock waits, directly or not, for one of the same owner's; that holds
  // for fcntl's locks alone, as in Linux. ENOLCK: too many wait.
  Result<uint64_t> add(const FileLock& wanted, Nanos now);
  // It waits no longer. Who has been called counts on until its turn is over.
  void remove(uint64_t wait);
  void removeAll(SessionId session);
  // Those whose turn has come, in order.
  std::vector<uint64_t> call(InodeId inode, Nanos now);
  // Its owner has tried, so its turn is over.
  void tried(const FileLock& wanted, bool granted);
  // The files where a turn has run out, so that others may be called.
  std::vector<InodeId> passTime(Nanos now);

  bool contains(uint64_t wait) const { return waits_.contains(wait); }
  // Who waits, in order.
  std::vector<FileLock> list() const;

 private:
  enum class State { WAITING, CALLED, TRIED };
  struct Wait {
    FileLock wanted;
    State state = State::WAITING;
    Nanos until = 0;  // of a turn, and of the right to the old place after it
  };

  // The number of such a wait in that state; 0: there is none.
  uint64_t find(const FileLock& wanted, State state) const;
  void erase(uint64_t wait);
  bool closesCircle(const FileLock& wanted) const;
  void addHolders(const FileLock& wanted, std::set<LockOwner>& found) const;

  LocksOn locksOn_;
  uint64_t last_ = 0;
  std::map<uint64_t, Wait> waits_;
  std::map<InodeId, std::set<uint64_t>> byInode_;
  std::map<LockOwner, std::set<uint64_t>> byOwner_;
  std::set<uint64_t> called_;  // CALLED and TRIED: they end with time
};

}  // namespace cairn
