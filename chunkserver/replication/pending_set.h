// PendingSet: the chunks of one shard with mutations not yet known complete on every member. Reconciliation makes
// exactly these equal. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/ids.h"

namespace cairn {

class PendingSet {
 public:
  // A mutation with this place in the shard's order of the current epoch. Places may come in any order.
  // `changes` false: one that leaves what may be read as it is (a chunk that is being mended).
  void add(ChunkId chunk, uint64_t sequence, bool changes = true);
  // Everything below `sequence` of the current epoch is complete everywhere.
  void completeBelow(uint64_t sequence);
  // Whether what has this place (0: before all) comes too late for the chunk: all up to it is complete, or something
  // after it was taken.
  bool isPast(ChunkId chunk, uint64_t sequence) const;
  // The epoch ended: what is here stays until settle().
  void endEpoch();
  // Reconciliation made all members equal: nothing from earlier epochs is pending any more.
  void settle() { carried_.clear(); }
  // A chunk that differs for another reason than a mutation of this epoch; stays until settle().
  void carry(ChunkId chunk) { carried_.insert(chunk); }

  bool contains(ChunkId chunk) const { return carried_.count(chunk) != 0 || latest_.count(chunk) != 0; }
  // Some mutation that changes it may not be complete everywhere: a reader may not see it yet.
  bool isChanging(ChunkId chunk) const;
  bool empty() const { return carried_.empty() && latest_.empty(); }
  size_t size() const { return carried_.size() + latest_.size(); }
  // In order, without doubles.
  std::vector<ChunkId> chunks() const;

 private:
  std::set<ChunkId> carried_;
  uint64_t below_ = 0;  // of the current epoch all before it is complete
  std::map<ChunkId, uint64_t> latest_;      // the highest place of each chunk
  std::map<ChunkId, uint64_t> changing_;    // the highest one that changes it
  std::map<uint64_t, ChunkId> bySequence_;  // the same, the other way round
};

}  // namespace cairn
