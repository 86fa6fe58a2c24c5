// StateKeeper: the replicated state beside its log. Applies entries, writes the state out in the background, makes
// snapshots when the log has grown, and keeps room on the disk for deletes.
#pragma once
#include <kj/async.h>
#include <leveldb/env.h>

#include <vector>

#include "common/clock.h"
#include "common/disk.h"
#include "common/task.h"
#include "common/workers.h"
#include "master/entry.h"
#include "master/log/log.h"
#include "master/namespace/state_machine.h"
#include "master/reserve.h"
#include "master/state_recovery.h"

namespace cairn {

struct StateOptions {
  uint64_t snapshotLogBytes = 0;  // a snapshot is made when the log has grown by so much
  uint64_t cacheBytes = 0;
  uint64_t reserveBytes = 0;
};

class StateKeeper final : private kj::TaskSet::ErrorHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() noexcept(false) = default;
    // A snapshot of the state at that entry is on the disk; the log begins at or before `oldest`.
    virtual void onSnapshot(LogIndex index, LogIndex oldest) = 0;
    virtual void onStateFailed(Error error) = 0;
    // Some of the state was written out: isFull() may have ended.
    virtual void onStateWritten() = 0;
  };
  // Beyond it no more entries should be taken in until LevelDB has caught up.
  static constexpr size_t UNWRITTEN_BYTES_MAX = 64 << 20;
  // The log is kept from the older of so many snapshots on, in case the newer one is found damaged.
  static constexpr size_t SNAPSHOTS_KEPT = 2;

  StateKeeper(StateOptions options, Clock& clock, Disk& disk, Workers& workers, leveldb::Env& env, Log& log,
              Owner& owner);

  void start(RecoveredState state);
  // Makes the state anew from the newest snapshot at or below the log's end. Waits inline for reading it.
  Task<Status> rebuild();
  Applied apply(LogIndex index, Term term, CommandEntry& command);
  bool isFull() { return machine_->store().unwrittenBytes() > UNWRITTEN_BYTES_MAX; }
  // The disk is full, and nothing is written out until it isn't.
  bool lacksRoom() const { return lacksRoom_; }
  // Now, instead of when the log has grown.
  void snapshotSoon();
  const std::vector<LogIndex>& snapshots() const { return snapshots_; }
  uint64_t loggedBytes() const { return loggedBytes_; }  // since the last snapshot
  const StateMachine& machine() const { return *machine_; }
  // The state can't be trusted any more: the next start makes it anew. Ends with onStateFailed().
  void distrust(const std::string& why);

  // Good order: writes the rest out.
  Task<void> stop();

 private:
  void writeSoon();
  Task<void> writeOut();
  Task<bool> roomForWrite();
  Task<void> keepReserve();
  Task<void> makeSnapshot(kj::Own<Store::Image> image);
  void dropOldSnapshots();
  void taskFailed(kj::Exception&& exception) override;

  const StateOptions options_;
  Clock& clock_;
  Disk& disk_;
  Workers& workers_;
  leveldb::Env& env_;
  Log& log_;
  Owner& owner_;
  SpaceReserve reserve_;
  kj::Own<StateMachine> machine_;
  std::vector<LogIndex> snapshots_;
  uint64_t loggedBytes_ = 0;  // since the last snapshot
  bool snapshotWanted_ = false;
  bool snapshotRunning_ = false;
  bool writeRunning_ = false;
  bool lacksRoom_ = false;
  bool stopping_ = false;
  bool failed_ = false;
  kj::ForkedPromise<void> writing_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
