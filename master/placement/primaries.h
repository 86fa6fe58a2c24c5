// Which in-sync member of a shard leads. Pure. A shard keeps its primary unless that one can't serve, or another has
// clearly fewer to lead for its weight; only shards that change anyway are looked at, for a new primary costs an epoch.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "rpc/shard_map.h"

namespace cairn {

// Sets `primary` in each of `changed`, which replace their namesakes in `map`. `able`: volumes that can serve now.
void spreadPrimaries(const ShardMap& map, const std::map<VolumeNumber, uint32_t>& weights,
                     const std::set<VolumeNumber>& able, std::vector<ShardRecord>& changed);

}  // namespace cairn
