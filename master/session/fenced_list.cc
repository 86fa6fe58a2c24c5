#include "master/session/fenced_list.h"

#include <algorithm>

namespace cairn {

void FencedList::update(const ShardMap& map, Nanos now) {
  for (SessionId session : map.fenced) {
    entries_.try_emplace(session, Entry{map.version, now});
  }
  std::erase_if(entries_, [&](auto& entry) { return !map.fenced.contains(entry.first); });
}

MapVersion drainedEverywhere(const ShardMap& map, const std::map<ServerId, MapVersion>& drained) {
  std::set<VolumeNumber> acting;
  for (auto& [id, shard] : map.shards) {
    acting.insert(shard.inSync.begin(), shard.inSync.end());
    acting.insert(shard.joining.begin(), shard.joining.end());
  }
  MapVersion confirmed{~uint64_t{0}};
  for (VolumeNumber number : acting) {
    const VolumeRecord* volume = map.volume(number);
    auto it = volume == nullptr ? drained.end() : drained.find(volume->server);
    confirmed = std::min(confirmed, it == drained.end() ? MapVersion{} : it->second);
  }
  return confirmed;
}

std::vector<SessionId> FencedList::removable(const ShardMap& map, const std::map<ServerId, MapVersion>& drained,
                                             Nanos now) const {
  std::vector<SessionId> out;
  auto old = [now](auto& entry) { return now >= entry.second.since + KEEP; };
  if (std::none_of(entries_.begin(), entries_.end(), old)) {
    return out;
  }
  MapVersion confirmed = drainedEverywhere(map, drained);
  for (auto& entry : entries_) {
    if (old(entry) && confirmed >= entry.second.version && out.size() < REMOVED_AT_ONCE_MAX) {
      out.push_back(entry.first);
    }
  }
  return out;
}

}  // namespace cairn
