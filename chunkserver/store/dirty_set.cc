#include "chunkserver/store/dirty_set.h"

#include <algorithm>

namespace cairn {

namespace {

bool due(const DirtyMark& mark, Nanos now) {
  bool atRest = now - mark.changed >= DirtySet::REST;
  return mark.unsynced && (atRest || now - mark.unsyncedSince >= DirtySet::UNSYNCED_MAX);
}

}  // namespace

void DirtySet::changed(ChunkKey key, Epoch epoch, Nanos now) {
  DirtyMark& mark = marks_[key];
  mark.epoch = std::max(mark.epoch, epoch);
  mark.changed = now;
  if (!mark.unsynced) {
    mark.unsynced = true;
    mark.unsyncedSince = now;
  }
}

void DirtySet::synced(ChunkKey key, bool all, Nanos now) {
  auto* mark = find(key);
  if (mark == nullptr) {
    return;
  }
  mark->synced = now;
  mark->unsyncedSince = now;
  mark->unsynced = !all;
}

std::vector<ChunkId> DirtySet::ofShard(ShardId shard) const {
  std::vector<ChunkId> out;
  for (auto it = marks_.lower_bound(ChunkKey{shard, {}}); it != marks_.end() && it->first.shard == shard; ++it) {
    out.push_back(it->first.chunk);
  }
  return out;
}

std::vector<ChunkKey> DirtySet::unchecked() const {
  std::vector<ChunkKey> out;
  for (auto& [key, mark] : marks_) {
    if (mark.unchecked) {
      out.push_back(key);
    }
  }
  return out;
}

std::vector<ChunkKey> DirtySet::toSync(Nanos now, size_t limit) const {
  std::vector<ChunkKey> out;
  for (auto& [key, mark] : marks_) {
    if (mark.batch == 0 && due(mark, now) && out.size() < limit) {
      out.push_back(key);
    }
  }
  return out;
}

bool DirtySet::smallToSync(Nanos now) const {
  return std::any_of(marks_.begin(), marks_.end(),
                     [now](auto& entry) { return entry.second.batch != 0 && due(entry.second, now); });
}

void DirtySet::smallSynced(uint64_t batch, Nanos now) {
  for (auto& entry : marks_) {
    DirtyMark& mark = entry.second;
    if (mark.unsynced && mark.batch != 0 && mark.batch <= batch) {
      mark.unsynced = false;
      mark.synced = mark.unsyncedSince = now;
    }
  }
}

std::vector<ChunkKey> DirtySet::unsynced() const {
  std::vector<std::pair<Nanos, ChunkKey>> found;
  for (auto& [key, mark] : marks_) {
    if (mark.unsynced) {
      found.emplace_back(mark.unsyncedSince, key);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<ChunkKey> out;
  for (auto& entry : found) {
    out.push_back(entry.second);
  }
  return out;
}

std::vector<ChunkKey> DirtySet::toClear(Nanos now, bool atStop) const {
  std::vector<ChunkKey> out;
  for (auto& [key, mark] : marks_) {
    bool rested = now - mark.changed >= REST && now - mark.synced >= REST;
    if (!mark.unsynced && !mark.unchecked && mark.torn.empty() && (rested || atStop)) {
      out.push_back(key);
    }
  }
  return out;
}

size_t DirtySet::uncheckedCount() const {
  return static_cast<size_t>(
      std::count_if(marks_.begin(), marks_.end(), [](auto& entry) { return entry.second.unchecked; }));
}

size_t DirtySet::tornBlocks() const {
  size_t count = 0;
  for (auto& entry : marks_) {
    count += entry.second.torn.size();
  }
  return count;
}

}  // namespace cairn
