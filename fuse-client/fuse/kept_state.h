// KeptState: all that a mount's process must leave behind for its successor (holder.h), in memory that outlives it: the
// kernel's first request, the session at the master and the changes sent under it, what the kernel knows and has open,
// locks, and which files have bytes that only this process has. Written as things happen, for it may be killed.
#pragma once
#include <linux/fuse.h>

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "common/ids.h"
#include "fuse-client/client/ledger.h"
#include "fuse-client/fuse/kept_memory.h"

namespace cairn {

class KeptState final : public Ledger {
 public:
  static constexpr size_t PARTS = 5;
  using Descriptors = std::array<int, PARTS>;

  // The memory of a mount that begins. An empty result: there is none to be had.
  static std::vector<int> make();
  // Takes over the descriptors.
  explicit KeptState(const Descriptors& descriptors);

  // Nobody has served under this yet.
  bool isNew() const;
  // A predecessor of another version may have laid things out otherwise.
  bool isUnderstood() const;

  // ---- the mount
  void begin(InodeId root, const std::string& firstRequest);
  InodeId root();
  std::string firstRequest();

  // ---- what the kernel knows and has open
  struct Open {
    uint64_t key = 0;      // HandleId
    uint64_t inode = 0;
    uint64_t parent = 0;   // of a directory
    uint64_t request = 0;  // by which it was opened
    uint32_t bits = 0;     // OpenBits
    uint32_t locksLost = 0;
  };
  struct Known {
    uint64_t key = 0;  // InodeId
    uint64_t lookups = 0;
    uint32_t mode = 0;
    uint32_t gid = 0;
  };
  void opened(const Open& open);
  bool isOpen(HandleId handle) { return open_.find(raw(handle)) != nullptr; }
  void closed(HandleId handle) { open_.erase(raw(handle)); }
  // 0 lookups: it doesn't know it any more.
  void knows(const Known& known);
  template <typename Visit>
  void forEachOpen(Visit&& visit) { open_.forEach(visit); }
  template <typename Visit>
  void forEachKnown(Visit&& visit) { known_.forEach(visit); }

  // ---- what the client library notes
  void attaching(SessionId session, uint64_t attempt) override;
  void sending(const SentChange& change) override;
  void answered(uint8_t slot) override { header().slots[slot].answered = 1; }
  void mayHaveLocks(const HeldLock& lock) override;
  void hasNoLocks(const HeldLock& lock) override;
  void locksLost(HandleId handle) override;
  void safety(InodeId inode, Safety now) override;
  // All of it, for a successor.
  Inheritance inheritance();

 private:
  static constexpr uint32_t LAYOUT = 1;
  static constexpr size_t FIRST_REQUEST_MAX = 512;
  static constexpr size_t SLOTS = 64;

  struct Slot {
    uint64_t sequence;
    uint64_t request;
    uint32_t kind;
    uint32_t answered;
  };
  struct Header {
    uint32_t layout;
    uint32_t firstRequestBytes;
    uint64_t root;
    uint64_t session;
    uint64_t attempt;
    uint64_t lastHandle;
    uint64_t lastLock;
    Slot slots[SLOTS];
    char firstRequest[FIRST_REQUEST_MAX];
  };
  struct Lock {
    uint64_t key = 0;
    uint64_t inode = 0;
    uint64_t owner = 0;
    uint64_t handle = 0;
    uint64_t flock = 0;
  };
  struct Unsafe {
    uint64_t key = 0;  // InodeId
    uint64_t safety = 0;
  };
  using LockKey = std::tuple<uint64_t, bool, uint64_t>;

  Header& header() { return *static_cast<Header*>(header_.start()); }
  const Header& header() const { return const_cast<KeptState*>(this)->header(); }
  static LockKey keyOf(const HeldLock& lock) { return {raw(lock.inode), lock.flock, lock.owner}; }

  KeptMemory header_;
  KeptTable<Open> open_;
  KeptTable<Known> known_;
  KeptTable<Lock> locks_;
  KeptTable<Unsafe> unsafe_;
  std::map<LockKey, uint64_t> lockPlaces_;
};

}  // namespace cairn
