// Weather: what befalls a simulated cluster at random: crashes, power cuts of one or all, partitions of every kind,
// resets, slow disks; in worlds whose seed has the bit of ROUGH also slow links and steps of the wall clock, with that
// of TIGHT disks without room. A group of masters has weather of its own besides, mostly where the leader is.
// Everything that is taken away comes back after a while; calm() brings all of it back at once.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster/sim_cluster.h"

namespace cairn {

class Weather {
 public:
  // Between two strokes. Each world has a climate of its own, from hurricane to a stroke now and then.
  static constexpr uint64_t ROUGH = uint64_t{1} << 40;
  static constexpr uint64_t TIGHT = uint64_t{1} << 41;
  static constexpr uint64_t TIGHT_ROOM_MAX = 256 << 10;
  static constexpr Nanos SLOW_DELAY_MAX = 400 * MILLISECOND;
  static constexpr Nanos CLOCK_STEP_MAX = 100 * SECOND;
  static constexpr Nanos GAP_MIN = 50 * MILLISECOND;
  static constexpr Nanos GAP_MAX_LEAST = 600 * MILLISECOND;
  static constexpr Nanos GAP_MAX_MOST = 8 * SECOND;
  static constexpr Nanos SPELL_MAX = 4 * SECOND;
  // Now and then longer than any lease.
  static constexpr Nanos LONG_SPELL_MAX = 15 * SECOND;

  // `clients`: hosts of mounts, which are cut off as well, but never crash.
  Weather(SimCluster& cluster, std::vector<std::string> clients);

  // For so long. `everyStep` is called between any two events.
  void blow(Nanos time, const std::function<void()>& everyStep);
  void calm();
  uint64_t events() const { return events_; }

 private:
  using Repair = std::function<void()>;

  void strike();
  void strikeRoughly();
  void fillDisk(const std::string& server);
  void repairDue();
  void later(Repair repair);
  void takeDown(const std::string& host, bool power);
  void takeAllDown();
  void strikeMasters();
  // From the other masters, not from clients and chunkservers.
  void cutMasterOff(const std::string& master);
  void cutOff();
  std::string anyServer() { return servers_[random_->below(servers_.size())]; }
  std::string anyMaster() { return masters_.size() == 1 ? masters_[0] : masters_[random_->below(masters_.size())]; }
  std::string anyHost() { return hosts_[random_->below(hosts_.size())]; }

  SimCluster& cluster_;
  const bool rough_;
  const bool tight_;
  kj::Own<SimRandom> random_;
  std::vector<std::string> servers_;
  std::vector<std::string> masters_;
  std::vector<std::string> hosts_;  // all, with masters and clients
  Nanos gapMax_;
  std::multimap<Nanos, Repair> repairs_;
  uint64_t events_ = 0;
};

}  // namespace cairn
