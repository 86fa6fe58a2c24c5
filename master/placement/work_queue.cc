#include "master/placement/work_queue.h"

#include <algorithm>
#include <unordered_set>

namespace cairn {

// Every shard that some chunk of the object hashes to. For an object of many chunks, simply all.
std::vector<ShardId> WorkQueue::shardsOf(const WorkItem& item, const ShardMap& map) {
  std::set<ShardId> out;
  auto cls = map.classes.find(item.cls);
  if (cls == map.classes.end()) {
    return {};
  }
  uint32_t count = 1u << cls->second.shardBits;
  bool all = item.chunks / 4 >= count;
  for (uint32_t i = 0; i < (all ? count : item.chunks); ++i) {
    out.insert(all ? makeShardId(item.cls, i) : shardOf(item.cls, cls->second.shardBits, {item.object, i}));
  }
  return {out.begin(), out.end()};
}

void WorkQueue::add(const WorkItem& item, const ShardMap& map) {
  auto [it, added] = items_.try_emplace(item.id);
  if (!added) {
    return;
  }
  it->second.open = shardsOf(item, map);
  it->second.notBefore = item.notBefore;
  it->second.firm = item.firm;
  shardsOpen_ += it->second.open.size();
  if (it->second.open.empty()) {
    finished_.insert(item.id);
  }
}

std::vector<uint64_t> WorkQueue::handOut(ServerId server, const ShardMap& map, Nanos now, size_t max,
                                         bool hurry) {
  std::vector<uint64_t> out;
  if (items_.size() == finished_.size()) {
    return out;
  }
  std::unordered_set<uint32_t> led;
  for (auto& [id, shard] : map.shards) {
    const VolumeRecord* primary = map.volume(shard.primary);
    if (primary != nullptr && primary->server == server) {
      led.insert(raw(id));
    }
  }
  auto leads = [&](ShardId id) { return led.contains(raw(id)); };
  size_t& handed = handedTo_[server];
  for (auto& [id, item] : items_) {
    if (out.size() >= max) {
      break;
    }
    if ((!hurry || item.firm) && now < item.notBefore) {
      continue;
    }
    auto told = item.handed.find(server);
    bool again = told != item.handed.end() && now >= told->second + HAND_AGAIN;
    bool due = told == item.handed.end() ? handed < HANDED_MAX : again;
    if (due && std::any_of(item.open.begin(), item.open.end(), leads)) {
      handed += told == item.handed.end();
      item.handed[server] = now;
      out.push_back(id);
    }
  }
  return out;
}

void WorkQueue::done(ServerId server, uint64_t id, MapVersion mapVersion, const ShardMap& map) {
  auto it = items_.find(id);
  if (it == items_.end()) {
    return;
  }
  handedTo_[server] -= it->second.handed.erase(server);
  if (mapVersion < oldest_) {
    return;
  }
  auto covered = [&](ShardId id) {
    const ShardRecord* shard = map.shard(id);
    const VolumeRecord* primary = shard == nullptr ? nullptr : map.volume(shard->primary);
    return primary != nullptr && primary->server == server && shard->changed <= mapVersion;
  };
  shardsOpen_ -= std::erase_if(it->second.open, covered);
  if (it->second.open.empty()) {
    finished_.insert(id);
  }
}

void WorkQueue::forget(ServerId server) {
  for (auto& [id, item] : items_) {
    item.handed.erase(server);
  }
  handedTo_.erase(server);
}

std::vector<uint64_t> WorkQueue::finished(size_t max) const {
  std::vector<uint64_t> out;
  for (uint64_t id : finished_) {
    if (out.size() >= max) {
      break;
    }
    out.push_back(id);
  }
  return out;
}

void WorkQueue::remove(uint64_t id) {
  auto it = items_.find(id);
  if (it == items_.end()) {
    return;
  }
  for (auto& [server, since] : it->second.handed) {
    --handedTo_[server];
  }
  shardsOpen_ -= it->second.open.size();
  items_.erase(it);
  finished_.erase(id);
}

}  // namespace cairn
