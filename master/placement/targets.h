// Targets: which volumes the copies of each shard belong on, as volumes come and go. Pure.
//
// What is gone for a short time stays in the targets, for it will have to copy less than anybody else. What is gone for
// longer than the repair delay leaves them, and so does what an administrator drains. But a crowd that is gone at once
// (a switch, a power supply) is waited for: its disks aren't lost, and copying everything would be a storm.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "master/placement/ring.h"
#include "master/placement/roster.h"
#include "rpc/shard_map.h"

namespace cairn {

struct PlacementRules {
  uint32_t firstServers = 3;  // chunkservers to wait for before the first placement
  // A volume that is gone so long is given up. A server that comes and goes has twice as long.
  Nanos repairDelay = 20 * SECOND;
  // A volume gets new copies when it has been here so long; of a server that comes and goes, SETTLE_FLAPPING times it.
  Nanos settleDelay = 5 * SECOND;
};

constexpr int64_t SETTLE_FLAPPING = 12;
// A volume that is so full gets no further copies.
constexpr uint64_t TAKES_BELOW_PERCENT = 90;

// One that had no room for a copy gets none for so long.
constexpr Nanos NO_ROOM_PATIENCE = 300 * SECOND;

enum class Standing {
  TAKES,   // keeps its copies and gets new ones
  KEEPS,   // keeps its copies
  FULL,    // keeps the copies that are in sync; what it lacks belongs elsewhere
  LEAVES,  // its copies belong elsewhere
};

struct Standings {
  std::map<VolumeNumber, Standing> volumes;
  std::set<ServerId> lost;  // servers that are given up now
  // Servers that are gone and would be given up, were they fewer.
  std::set<ServerId> spared;
  bool crowd = false;  // more than half is gone at once
  std::optional<Nanos> lookAgain;  // when time alone changes something
};

// `crowdEnd`: when more than half was gone for the last time; 0: never. Those of them that stay away have the whole
// delay from then on, for nobody could look after each of them before.
Standings judge(const ShardMap& map, const Roster& roster, const PlacementRules& rules, Nanos now, Nanos crowdEnd = 0);

// True when the volume holds, or is to hold, a copy of some shard.
bool isUsed(const ShardRecord& shard, VolumeNumber volume);
// Shards of which some volume of the server does.
size_t shardsUsing(const ShardMap& map, ServerId server);

// Remembers what it found: a plan holds until the volumes' standing, the classes or the servers' places change, while
// shard after shard is moved. A new one begins from the targets as they are then.
class Targets {
 public:
  using Plan = std::map<ShardId, std::vector<VolumeNumber>>;

  // judge(), remembering crowds.
  Standings look(const ShardMap& map, const Roster& roster, const PlacementRules& rules, Nanos now);
  // Shards whose target should be another, and that one. Only what has to change does, and a volume that leaves keeps
  // its place when nobody can take it.
  Plan plan(const ShardMap& map, const Standings& standings);
  // What is left of the last plan.
  const Plan& pending() const { return plan_; }

 private:
  struct Input {
    std::map<VolumeNumber, Standing> volumes;
    std::map<ClassId, ReplicationClass> classes;
    std::map<ServerId, std::pair<std::string, std::string>> places;  // racks and zones
    size_t shards = 0;
    bool operator==(const Input&) const = default;
  };
  static Plan compute(const ShardMap& map, const Standings& standings);

  bool crowd_ = false;
  Nanos crowdEnd_ = 0;
  std::optional<Input> input_;
  Plan plan_;
};

}  // namespace cairn
