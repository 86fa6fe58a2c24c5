// The shard map's rules: from the map as it is, and from who can serve, the next map. Pure: no time but the one
// handed in, no decision that depends on anything else. ARCHITECTURE.md, "The shard map", has the reasons.
//
// One call decides for all shards together, so one log entry holds all that a turn brought. A change of a shard's
// members always raises its epoch. What is wanted of a shard is its `target`; a member of it that is present, isn't in
// sync, and has someone in sync to learn from joins. Making copies elsewhere is the same: change the target.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "master/placement/roster.h"
#include "rpc/shard_map.h"

namespace cairn {

// When all in-sync members of a shard have restarted: how long those that came wait for the others.
constexpr Nanos RESTART_GRACE = 5 * SECOND;
// A member whose loss leaves fewer in sync than minCopies is dropped this much later: writes wait anyway, and if the
// others are dying too, all of them stay in sync and any of them can bring the shard back.
constexpr Nanos SETTLE = 2 * SECOND;

struct PlacementRules {
  uint32_t firstServers = 3;  // chunkservers to wait for before the first placement
};

// A joining volume has all of its shard as of `epoch`, synced.
struct CaughtUp {
  ShardId shard{};
  Epoch epoch{};
  VolumeNumber volume{};
};

// Complete new records; what isn't named stays as it is.
struct MapChange {
  std::vector<ServerRecord> servers;
  std::vector<VolumeRecord> volumes;
  std::vector<ShardRecord> shards;
  bool empty() const { return servers.empty() && volumes.empty() && shards.empty(); }
};

struct Decision {
  MapChange change;
  std::optional<Nanos> lookAgain;  // the same input at this time decides more
};

Decision decide(const ShardMap& map, const Roster& roster, const std::vector<CaughtUp>& caughtUp,
                const PlacementRules& rules, Nanos now);

}  // namespace cairn
