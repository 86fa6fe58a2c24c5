// RepairProgress: how much is left to copy to where it belongs, and how fast that goes. Pure.
#pragma once
#include <deque>
#include <map>

#include "common/clock.h"
#include "master/placement/targets.h"

namespace cairn {

class RepairProgress {
 public:
  static constexpr Nanos WINDOW = 10 * SECOND;  // over which the speed is taken
  static constexpr Nanos STEP = SECOND;

  // What the server's joining members have fetched since it started.
  void report(ServerId server, const Incarnation& incarnation, uint64_t takenOverBytes, Nanos now);
  uint64_t bytesPerSecond(Nanos now) const;

 private:
  struct Known {
    Incarnation incarnation;
    uint64_t bytes = 0;
  };
  struct Step {
    Nanos began;
    uint64_t bytes;
  };
  std::map<ServerId, Known> known_;
  std::deque<Step> steps_;
};

// Copies that are wanted and not in sync, each reckoned as an average one of the volume that it is copied from. A copy
// that needs only what it missed counts as a whole one. `plan`: targets that are still to come.
uint64_t repairBytesLeft(const ShardMap& map, const Roster& roster, const Targets::Plan& plan);

}  // namespace cairn
