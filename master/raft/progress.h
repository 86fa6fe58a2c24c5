// Progress: what the leader knows of one other member, and how much it may send there. Its transitions are its methods.
//
//   PROBE       where the logs part is not known: one append, then wait
//   REPLICATE   appends follow one another without waiting, within the limits of what is in flight
//   SNAPSHOT    it needs entries that are gone: nothing is sent until the snapshot has arrived or failed
#pragma once
#include <cstdint>
#include <deque>

#include "master/raft/entry.h"

namespace cairn::raft {

struct FlightLimits {
  size_t messagesMax = 64;
  size_t bytesMax = 16 << 20;
};

class Progress {
 public:
  enum class State { PROBE, REPLICATE, SNAPSHOT };

  Progress(LogIndex nextIndex, FlightLimits limits) : next_(nextIndex), limits_(limits) {}

  State state() const { return state_; }
  LogIndex match() const { return match_; }
  LogIndex next() const { return next_; }
  LogIndex snapshot() const { return snapshot_; }
  size_t inFlight() const { return flights_.size(); }
  bool maySend() const;

  // An append with entries up to `last` goes out; `last` is next() - 1 for one without entries.
  void sent(LogIndex last, size_t bytes);
  // Entries up to `last` are on their way from the disk: nothing else goes before they are answered.
  void sentFromDisk(LogIndex last);
  // ... and have been read, up to `last`.
  void readFromDisk(LogIndex last);
  // False: nothing new. An old answer never ends a probe, or each copy of it would send the next append once more.
  bool accepted(LogIndex match);
  // The logs agree up to `agreed` at most. False: an old answer, already contradicted.
  bool refused(LogIndex previous, LogIndex agreed);
  // It answered a heartbeat, with a log that reached to `last`: what was lost on the way may be sent again. Not what
  // has arrived and waits for a slow disk there.
  void answered(LogIndex last);
  // It no longer has what it acknowledged after `agreed`.
  void lost(LogIndex agreed);
  void becomeProbe();
  void becomeSnapshot(LogIndex snapshot);
  // Waits for the next answer to a heartbeat before anything else is sent.
  void snapshotEnded(bool arrived);
  // It has spoken to this leader, not long ago, and hasn't been cut off since.
  bool heardOf() const { return !cutOff && (active || wasActive); }
  void heard() {
    active = true;
    cutOff = false;
    silentTicks = 0;
  }

  bool active = true;      // heard of since the leader last looked
  bool wasActive = true;   // heard of in the time before that
  bool cutOff = true;      // not heard of yet, or its link broke since; that alone deposes no leader
  unsigned silentTicks = 0;  // since it was heard of
  uint64_t readRound = 0;  // newest heartbeat round that it answered

 private:
  static constexpr unsigned PATIENCE = 20;

  struct Flight {
    LogIndex last{};
    size_t bytes = 0;
  };

  State state_ = State::PROBE;
  LogIndex match_{};       // all entries up to here are durable there
  LogIndex next_;          // to be sent
  LogIndex snapshot_{};    // on its way, in SNAPSHOT
  bool waiting_ = false;   // in PROBE: one append is out
  LogIndex probeLast_{};   // ... with entries up to here
  unsigned patience_ = 0;  // heartbeats for which what has arrived may stay unanswered: its answer may be lost
  std::deque<Flight> flights_;
  size_t flightBytes_ = 0;
  FlightLimits limits_;
};

}  // namespace cairn::raft
