// RaftStore: makes durable what a Raft core wants durable: term and vote in the term file, entries in the log, a
// received snapshot in the place of both. In order; what comes while a sync runs shares the next one.
#pragma once
#include <kj/async.h>
#include <kj/function.h>

#include <deque>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/disk.h"
#include "common/task.h"
#include "master/log/log.h"
#include "master/raft/output.h"

namespace cairn {

class RaftStore final : private kj::TaskSet::ErrorHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() noexcept(false) = default;
    virtual void onDurable(raft::Persist& persist) = 0;
    // The log has been put behind the snapshot, which is on the disk: the state must be made from it.
    virtual Task<Status> installState(const raft::InstallSnapshot& snapshot) = 0;
    // Nobody knows what is on the disk: the process must end.
    virtual void onStoreFailed(Error error) = 0;
  };

  RaftStore(Clock& clock, Disk& disk, Log& log, Owner& owner)
      : clock_(clock), disk_(disk), log_(log), owner_(owner), tasks_(*this) {}

  // Term and vote as last written.
  static Result<raft::HardState> readHardState(Disk& disk);
  void submit(raft::Persist persist);
  bool idle() const { return !running_; }

 private:
  // On a full disk: how often to try again. The others of the group go on meanwhile.
  static constexpr Nanos ROOM_DELAY = 200 * MILLISECOND;

  Task<void> run();
  std::vector<raft::Persist> takeBatch();
  Task<Status> store(const std::vector<raft::Persist>& batch);
  Task<Status> replaceLog(const raft::InstallSnapshot& snapshot);
  Task<Status> appendAll(const std::vector<raft::Persist>& batch);
  void taskFailed(kj::Exception&& exception) override;

  Clock& clock_;
  Disk& disk_;
  Log& log_;
  Owner& owner_;
  std::deque<raft::Persist> queue_;
  bool running_ = false;
  raft::Position installed_;  // by the last snapshot: not to be done again when what follows it is tried again
  kj::TaskSet tasks_;
};

}  // namespace cairn
