// RaftDisk: what a simulated member has on its disk, and the writes on their way there. It outlives the member's
// process: a crash loses what wasn't durable, keeps any beginning of it, or tears it.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "common/random.h"
#include "master/raft/raft.h"

namespace cairn::raft {

// The replicated state of the tests: a digest of everything applied.
struct RaftState {
  LogIndex index{};
  uint64_t digest = 0;
  void apply(const Entry& entry);
  bool operator==(const RaftState&) const = default;
};

struct RaftSnapshot {
  Position last;
  Membership membership;
  RaftState state;
};

class RaftDisk {
 public:
  // A directory of a new cluster's first members, or, with an empty membership, of one that is to join.
  explicit RaftDisk(Membership initial) { snapshot_.membership = base_.membership = std::move(initial); }

  // ---- writes, in order ----
  // `received`: the snapshot that came with it, if the write installs one.
  void write(Persist persist, std::optional<RaftSnapshot> received);
  bool busy() const { return !writes_.empty(); }
  size_t writes() const { return writes_.size(); }
  // The oldest write is durable; its id, and the messages that waited for it.
  Persist finishOne();
  // Power fails: of what was under way the disk keeps none, some or all, but in order.
  void crash(Random& random);
  // ... or nothing of it.
  void crash() { writes_.clear(); }

  // ---- beside the log ----
  void keepSnapshot(RaftSnapshot snapshot) { snapshot_ = std::move(snapshot); }
  const RaftSnapshot& snapshot() const { return snapshot_; }
  void compact(LogIndex upTo);
  std::vector<Entry> read(LogIndex first, LogIndex last, size_t bytesMax) const;
  // An entry that was durable can't be read any more, nor trusted what follows it. Not while a process runs.
  void rot(LogIndex index);
  void noteHealed() { damage_.reset(); }
  bool damaged() const { return damage_.has_value(); }

  // What a starting process finds.
  Restart restart() const;
  LogIndex last() const { return entries_.empty() ? base_.last.index : entries_.back().index; }
  LogIndex base() const { return base_.last.index; }
  Membership membership() const;  // the newest
  const HardState& hard() const { return hard_; }
  // Whether this was durable here, though rot may have taken it since.
  bool everHeld(Position position) const;
  bool everReached(LogIndex index) const;
  // For scenarios that begin in the middle.
  void setHard(HardState hard) { hard_ = hard; }
  void add(Entry entry) { entries_.push_back(std::move(entry)); }

 private:
  struct Write {
    Persist persist;
    std::optional<RaftSnapshot> received;
  };
  void store(const Write& write, size_t entries);
  void truncate(LogIndex from);

  HardState hard_;
  RaftSnapshot base_;  // its state isn't used
  std::deque<Entry> entries_;
  RaftSnapshot snapshot_;
  std::optional<Damage> damage_;
  std::deque<Write> writes_;
};

}  // namespace cairn::raft
