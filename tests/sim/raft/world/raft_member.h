// RaftMember: a simulated member: the core, its disk and the state of the tests, with the network left to the caller.
#pragma once
#include <kj/common.h>

#include <functional>
#include <map>
#include <memory>

#include "tests/sim/raft/world/raft_disk.h"

namespace cairn::raft {

// Sees everything that a member does, in order. The simulation's checks hang on it.
class RaftWatcher {
 public:
  virtual ~RaftWatcher() = default;
  virtual void onApplied(MemberId member, const Entry& entry, const RaftState& after) = 0;
  virtual void onInstalled(MemberId member, const RaftSnapshot& snapshot) = 0;
  virtual void onRead(MemberId member, const ReadReady& ready, const RaftState& state) = 0;
  virtual void onReadFailed(MemberId member, const ReadId& id) = 0;
};

class RaftMember {
 public:
  // Passes a message on; `state` goes with an InstallSnapshot.
  using Sender = std::function<void(Message message, std::shared_ptr<const RaftSnapshot> state)>;

  RaftMember(RaftOptions options, Random& random, Membership initial, RaftWatcher& watcher, Sender send)
      : options_(std::move(options)), random_(random), watcher_(watcher), send_(std::move(send)), disk_(initial) {}
  KJ_DISALLOW_COPY(RaftMember);

  void start(Nanos now = 0);
  void crash(bool keepSome);
  bool running() const { return raft_ != nullptr; }
  // REQUIRES: running().
  Raft& raft() { return *raft_; }
  const Raft& raft() const { return *raft_; }
  MemberId id() const { return options_.self; }
  RaftDisk& disk() { return disk_; }
  const RaftState& state() const { return state_; }

  // By its own clock. To be told before what happens then.
  void timeIs(Nanos now) { raft_->timeIs(now); }
  void deliver(Message message, std::shared_ptr<const RaftSnapshot> state);
  void tick();
  // Entries that have left memory are read at the next tick, not at once.
  void readLater() { readsLater_ = true; }
  // Does what the core wants until it wants nothing more. To be called after every input.
  void settle();
  // The oldest write under way is durable.
  void finishWrite();
  // Makes a snapshot of the state, and drops all but `kept` of the entries before it.
  void makeSnapshot(uint64_t kept);

 private:
  void handle(Output output);
  void answerReads();
  void readStored(StoredAppend stored);

  const RaftOptions options_;
  Random& random_;
  RaftWatcher& watcher_;
  Sender send_;
  RaftDisk disk_;
  std::unique_ptr<Raft> raft_;
  RaftState state_;
  bool readsLater_ = false;
  std::vector<StoredAppend> stored_;
  std::map<LogIndex, std::shared_ptr<const RaftSnapshot>> received_;  // snapshots that the core may want to install
  std::vector<ReadReady> confirmed_;                                  // reads that wait for the state
};

}  // namespace cairn::raft
