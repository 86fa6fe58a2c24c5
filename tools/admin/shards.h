// What the shard map says of a shard and its members, in words.
#pragma once
#include <string>
#include <vector>

#include "rpc/shard_map.h"
#include "tools/admin/output.h"

namespace cairn::admin {

// "healthy", "degraded" (fewer in-sync copies than wanted), "at-risk" (one left), "unavailable" (none is online),
// "unplaced" (nobody wrote to it yet), "misplaced" (enough copies, elsewhere than the ring says).
std::string shardState(const ShardMap& map, const ShardRecord& shard);

// "c2", or "c2/7" where its server has several volumes.
std::string memberText(const ShardMap& map, VolumeNumber volume);
std::string membersText(const ShardMap& map, const std::vector<VolumeNumber>& volumes);
Json membersJson(const ShardMap& map, const std::vector<VolumeNumber>& volumes);
Json shardJson(const ShardMap& map, const ShardRecord& shard);

}  // namespace cairn::admin
