#include "master/repair_progress.h"

#include <algorithm>

namespace cairn {

void RepairProgress::report(ServerId server, const Incarnation& incarnation, uint64_t takenOverBytes, Nanos now) {
  auto [it, isNew] = known_.try_emplace(server);
  Known& known = it->second;
  if (isNew) {
    known = {incarnation, takenOverBytes};  // that was before this master led
  }
  bool same = known.incarnation == incarnation;
  uint64_t more = takenOverBytes - (same ? std::min(known.bytes, takenOverBytes) : 0);
  known = {incarnation, takenOverBytes};
  if (more == 0) {
    return;
  }
  if (steps_.empty() || now >= steps_.back().began + STEP) {
    steps_.push_back({now, 0});
  }
  steps_.back().bytes += more;
  while (steps_.front().began + WINDOW < now) {
    steps_.pop_front();
  }
}

uint64_t RepairProgress::bytesPerSecond(Nanos now) const {
  uint64_t bytes = 0;
  Nanos first = now;
  for (auto& step : steps_) {
    if (step.began + WINDOW >= now) {
      bytes += step.bytes;
      first = std::min(first, step.began);
    }
  }
  Nanos took = std::max(now - first, STEP);
  return bytes * 1000 / static_cast<uint64_t>(took / MILLISECOND);
}

uint64_t repairBytesLeft(const ShardMap& map, const Roster& roster, const Targets::Plan& plan) {
  std::map<VolumeNumber, uint64_t> copies;
  for (auto& [id, shard] : map.shards) {
    for (VolumeNumber volume : shard.inSync) {
      ++copies[volume];
    }
  }
  auto ownBytes = [&](VolumeNumber number) -> uint64_t {
    const VolumeRecord* volume = map.volume(number);
    const Roster::Member* member = volume == nullptr ? nullptr : roster.member(volume->server);
    bool known = member != nullptr && member->volumes.contains(volume->id);
    return known ? member->volumes.at(volume->id).ownBytes : 0;
  };
  uint64_t left = 0;
  for (auto& [id, shard] : map.shards) {
    auto planned = plan.find(id);
    auto& target = planned == plan.end() ? shard.target : planned->second;
    uint64_t copy = 0;
    for (VolumeNumber volume : shard.inSync) {
      copy = std::max(copy, ownBytes(volume) / copies[volume]);
    }
    left += copy * std::count_if(target.begin(), target.end(), [&, &shard = shard](VolumeNumber volume) {
              return !shard.isInSync(volume);
            });
  }
  return left;
}

}  // namespace cairn
