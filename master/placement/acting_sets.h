// The shard map's rules: from the map as it is, and from who can serve, the next map. Pure: no time but the one
// handed in, no decision that depends on anything else. ARCHITECTURE.md, "The shard map", has the reasons.
//
// One call decides for all shards together, so one log entry holds all that a turn brought. A change of a shard's
// members or its target raises its epoch. What is wanted of a shard is its `target`; a member of it that is present,
// isn't in sync, and has someone in sync to learn from joins. Making copies elsewhere is the same: the target becomes
// another, for so many shards at a time as the volumes can stand, and those who are in sync without being wanted leave
// when all who are wanted are.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "master/placement/roster.h"
#include "master/placement/targets.h"
#include "rpc/shard_map.h"

namespace cairn {

// When all in-sync members of a shard have restarted: how long those that came wait for the others.
constexpr Nanos RESTART_GRACE = 5 * SECOND;
// A member whose loss leaves fewer in sync than minCopies is dropped this much later: writes wait anyway, and if the
// others are dying too, all of them stay in sync and any of them can bring the shard back.
constexpr Nanos SETTLE = 2 * SECOND;
// A server that was stopped in good order is waited for so long.
constexpr uint32_t STOPPED_SECONDS = 300;
// Joining members when no further shard gets another target: of one volume, as the one that copies or the one that is
// copied from, and of all.
constexpr uint32_t JOINS_OF_VOLUME_MAX = 16;
constexpr uint32_t JOINS_MAX = 512;

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
  std::vector<ServerId> removed;
  std::vector<ReplicationClass> classes;
  bool empty() const {
    return servers.empty() && volumes.empty() && shards.empty() && removed.empty() && classes.empty();
  }
};

struct Decision {
  MapChange change;
  std::set<ServerId> dropped;  // servers that are gone and lose a place in an in-sync set
  std::optional<Nanos> lookAgain;  // the same input at this time decides more
};

Decision decide(const ShardMap& map, const Roster& roster, const std::vector<CaughtUp>& caughtUp,
                const PlacementRules& rules, Nanos now, Targets& targets);

}  // namespace cairn
