// Upgrade: raises the cluster's feature level when all its servers know a higher one. Masters count while they are
// members, chunkservers until they are removed: one that is away may come back with the old program. Mounts don't
// count: what they take part in is the protocol, of which servers speak older ones too.
#pragma once
#include <kj/async.h>

#include <string>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "master/chunkservers.h"
#include "master/group.h"
#include "master/replica.h"

namespace cairn {

class Upgrade final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos PERIOD = SECOND;

  Upgrade(Clock& clock, Replica& replica, const Chunkservers& chunkservers)
      : clock_(clock), replica_(replica), chunkservers_(chunkservers), tasks_(*this) {}

  void tick();

 private:
  Task<void> raise(uint32_t level);
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  Replica& replica_;
  const Chunkservers& chunkservers_;
  Nanos lookedAt_ = 0;
  bool raising_ = false;
  kj::TaskSet tasks_;
};

// Names of the servers that aren't known to know the level of this master's program.
std::vector<std::string> levelHeldBy(Replica& replica, const Chunkservers& chunkservers);

}  // namespace cairn
