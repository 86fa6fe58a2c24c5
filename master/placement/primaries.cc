#include "master/placement/primaries.h"

#include <algorithm>
#include <optional>

namespace cairn {

void spreadPrimaries(const ShardMap& map, const std::map<VolumeNumber, uint32_t>& weights,
                     const std::set<VolumeNumber>& able, std::vector<ShardRecord>& changed) {
  if (changed.empty()) {
    return;
  }
  std::set<ShardId> replaced;
  for (auto& shard : changed) {
    replaced.insert(shard.id);
  }
  auto isAble = [&](const ShardRecord& shard, VolumeNumber volume) {
    return shard.isInSync(volume) && able.contains(volume);
  };
  // Who isn't wanted doesn't lead when all who are wanted could.
  auto mayLead = [&](const ShardRecord& shard, VolumeNumber volume) {
    auto& target = shard.target;
    bool wanted = std::find(target.begin(), target.end(), volume) != target.end();
    return isAble(shard, volume) &&
           (wanted || !std::all_of(target.begin(), target.end(), [&](auto other) { return isAble(shard, other); }));
  };
  auto leadsAlready = [&](const ShardRecord& shard) {
    return map.shard(shard.id) != nullptr && mayLead(shard, shard.primary);
  };
  std::map<VolumeNumber, uint32_t> leads;
  for (auto& [id, shard] : map.shards) {
    leads[shard.primary] += !shard.inSync.empty() && !replaced.contains(id);
  }
  for (auto& shard : changed) {
    leads[shard.primary] += leadsAlready(shard);
  }
  auto burden = [&](VolumeNumber volume) {
    auto it = weights.find(volume);
    return double(leads[volume] + 1) / (it == weights.end() ? 1 : it->second);
  };
  for (auto& shard : changed) {
    std::optional<VolumeNumber> best;
    if (leadsAlready(shard)) {
      --leads[shard.primary];
      best = shard.primary;
    }
    for (VolumeNumber volume : shard.inSync) {
      if (mayLead(shard, volume) && (!best.has_value() || burden(volume) < burden(*best))) {
        best = volume;
      }
    }
    if (best.has_value()) {
      shard.primary = *best;
      ++leads[*best];
    }
  }
}

}  // namespace cairn
