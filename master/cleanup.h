// Cleanup: hands the state's reclaim and cut queues to the primaries that have to do the work, and takes an entry off
// its queue once all of them have. One window of work under way; the queues themselves may be of any length.
#pragma once
#include <kj/async.h>

#include <map>

#include "common/clock.h"
#include "common/task.h"
#include "master/placement/work_queue.h"
#include "master/replica.h"
#include "schema/master.capnp.h"

namespace cairn {

class Cleanup final : private kj::TaskSet::ErrorHandler {
 public:
  // Deleting costs each copy's server about as much as writing did, so it waits until the burst of deletes that
  // brought it is over, and then goes slowly; but not when the room is wanted.
  static constexpr Nanos RECLAIM_DELAY = 3 * SECOND;
  // An object whose bytes are in another one now: whoever knows the file by it must have learnt that. Clients look for
  // a newer layout after LAYOUT_TRUST (client/chunk_io.h) and believe no answer that took as long.
  static constexpr Nanos LEFT_DELAY = 120 * SECOND;
  static constexpr size_t HAND_OUT_SLOWLY = 64;  // in one reply
  static constexpr size_t HAND_OUT_MAX = 2048;   // in a hurry
  static constexpr size_t CONFIRM_MAX = 4096;    // in one log entry
  static constexpr size_t CONFIRM_SOON = 512;    // that many finished ones don't wait for the next tick

  Cleanup(Clock& clock, Replica& replica);
  ~Cleanup() noexcept(false);

  void handOut(ServerId server, wire::Work::Builder out);
  void done(ServerId server, MapVersion mapVersion, capnp::List<uint64_t>::Reader ids);
  // The server has restarted.
  void forget(ServerId server);
  // The queues have grown.
  void queued();
  // `hurry`: some volume is filling up.
  void tick(bool hurry);
  // Entries of both queues that are not done, as far as known: at least this many.
  size_t backlog() const { return queue_.size(); }

 private:
  static constexpr size_t READ_AT_ONCE = 1024;

  const ShardMap& map() const { return replica_.reader().map(); }
  void refill();
  void refillReclaims();
  void refillCuts();
  void confirmSoon();
  Task<void> confirm();
  Task<bool> confirmOnce();
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  Replica& replica_;
  WorkQueue queue_;  // ids are unique over both queues
  std::map<uint64_t, ReclaimItem> reclaims_;
  std::map<uint64_t, CutItem> cuts_;
  uint64_t lastReclaim_ = 0;
  uint64_t lastCut_ = 0;
  bool moreReclaims_ = true;
  bool moreCuts_ = true;
  bool confirming_ = false;
  bool hurry_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
