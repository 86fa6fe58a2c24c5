// Nemesis: breaks things, and mends them. At most what one fault atlas allows: rot befalls a member only while all the
// others have what they had.
#pragma once
#include <array>

#include "tests/sim/raft/world/raft_cluster.h"

namespace cairn::raft {

class Nemesis {
 public:
  explicit Nemesis(RaftCluster& cluster) : cluster_(cluster) {}

  // One fault, or the end of one.
  void act();
  // Ends all of them.
  void mendAll();

  static constexpr const char* FAULTS[] = {"crash",     "restart", "pause",     "partition",       "one way",
                                           "partial",   "heal",    "weather",   "slow disk",       "stalled disk",
                                           "full disk", "rot",     "power cut", "stop for minutes"};
  static constexpr size_t FAULT_COUNT = sizeof(FAULTS) / sizeof(FAULTS[0]);
  const std::array<uint64_t, FAULT_COUNT>& counts() const { return counts_; }

 private:
  enum Fault {
    CRASH,
    RESTART,
    PAUSE,
    PARTITION,
    ONE_WAY,
    PARTIAL,
    HEAL,
    WEATHER,
    SLOW_DISK,
    STALLED_DISK,
    FULL_DISK,
    ROT,
    POWER_CUT,
    LONG_STOP
  };
  void act(Fault fault, MemberId who, MemberId other);
  void partition();
  void changeWeather();
  void restartAll();
  void rot(MemberId who);
  Nanos upTo(Nanos most) { return static_cast<Nanos>(cluster_.random().below(most)); }

  RaftCluster& cluster_;
  std::array<uint64_t, FAULT_COUNT> counts_{};
};

}  // namespace cairn::raft
