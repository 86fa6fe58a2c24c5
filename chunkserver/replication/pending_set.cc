#include "chunkserver/replication/pending_set.h"

namespace cairn {

void PendingSet::add(ChunkId chunk, uint64_t sequence) {
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
  while (!bySequence_.empty() && bySequence_.begin()->first < sequence) {
    latest_.erase(bySequence_.begin()->second);
    bySequence_.erase(bySequence_.begin());
  }
}

void PendingSet::endEpoch() {
  for (auto& [chunk, sequence] : latest_) {
    carried_.insert(chunk);
  }
  latest_.clear();
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
