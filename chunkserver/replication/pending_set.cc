#include "chunkserver/replication/pending_set.h"

#include <algorithm>

namespace cairn {

void PendingSet::add(ChunkId chunk, uint64_t sequence, bool changes) {
  if (changes) {
    auto& latest = changing_[chunk];
    latest = std::max(latest, sequence);
  }
  auto [it, isNew] = latest_.try_emplace(chunk, sequence);
  if (!isNew) {
    if (it->second >= sequence) {
      return;
    }
    bySequence_.erase(it->second);
    it->second = sequence;
  }
  bySequence_[sequence] = chunk;
}

void PendingSet::completeBelow(uint64_t sequence) {
  below_ = std::max(below_, sequence);
  while (!bySequence_.empty() && bySequence_.begin()->first < sequence) {
    changing_.erase(bySequence_.begin()->second);
    latest_.erase(bySequence_.begin()->second);
    bySequence_.erase(bySequence_.begin());
  }
}

bool PendingSet::isPast(ChunkId chunk, uint64_t sequence) const {
  auto it = latest_.find(chunk);
  return sequence < below_ || (it != latest_.end() && it->second > sequence);
}

bool PendingSet::isChanging(ChunkId chunk) const {
  auto it = changing_.find(chunk);
  return carried_.count(chunk) != 0 || (it != changing_.end() && it->second >= below_);
}

void PendingSet::endEpoch() {
  below_ = 0;
  for (auto& [chunk, sequence] : latest_) {
    carried_.insert(chunk);
  }
  latest_.clear();
  changing_.clear();
  bySequence_.clear();
}

std::vector<ChunkId> PendingSet::chunks() const {
  std::set<ChunkId> all = carried_;
  for (auto& [chunk, sequence] : latest_) {
    all.insert(chunk);
  }
  return {all.begin(), all.end()};
}

}  // namespace cairn
