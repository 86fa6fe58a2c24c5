// TrashKeeper: what has to be done behind for the accounts and the trash. Purges what has been kept long enough, and
// earlier, oldest first, when room is wanted; takes loose trees apart; counts a state that is from before there were
// accounts. One log entry at a time, so that users' own come in between.
#pragma once
#include <kj/async.h>

#include "common/clock.h"
#include "common/task.h"
#include "master/chunkservers.h"
#include "master/cleanup.h"
#include "master/replica.h"
#include "master/sessions.h"
#include "master/space.h"

namespace cairn {

class TrashKeeper final : private kj::TaskSet::ErrorHandler {
 public:
  // More than that isn't kept, however young: the state would be of things that are gone.
  static constexpr uint64_t ITEMS_MAX = 1 << 20;
  static constexpr size_t PURGE_AT_ONCE = 256;  // in one log entry
  static constexpr size_t WORK_A_TICK = 1024;   // names and items; an entry counts a little too

  struct Parts {
    Clock& clock;
    Replica& replica;
    const Chunkservers& chunkservers;
    const Sessions& sessions;
    const Cleanup& cleanup;
    const OwnSpace& ownSpace;
  };
  // `defaultSeconds`: for how long a cluster keeps what is deleted that was never told so.
  TrashKeeper(Parts parts, uint32_t defaultSeconds);
  ~TrashKeeper() noexcept(false);

  void tick();

 private:
  const NamespaceReader& reader() const { return parts_.replica.reader(); }
  Task<void> work();
  Task<size_t> step();
  Task<bool> prepare();
  std::vector<uint64_t> due();
  bool mustMakeRoom() const;
  InodeId someTree(size_t& names);
  bool isInUse(const LooseTree& tree, size_t& names) const;
  int64_t nowSeconds() const;
  void taskFailed(kj::Exception&& e) override;

  const Parts parts_;
  const uint32_t defaultSeconds_;
  const int64_t startedSeconds_;  // by the log's clock, and by our own
  const Nanos started_;
  // Where to look on: a look from the start passes over all that was erased there. Now and then it is from there.
  uint64_t purgedUpTo_ = 0;
  InodeId lastTree_{};
  Nanos lookedFromStart_ = 0;
  Nanos madeRoom_ = 0;
  bool working_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
