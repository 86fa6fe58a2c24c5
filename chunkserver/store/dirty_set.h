// Which chunks have a dirty mark, and when they may lose it. Pure; the marks themselves are in the index.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "chunkserver/store/volume_store.h"
#include "common/clock.h"

namespace cairn {

struct DirtyMark {
  Epoch epoch{};      // of the last change that the mark covers
  Nanos changed = 0;  // last change
  Nanos unsyncedSince = 0;
  Nanos synced = 0;        // last sync, 0: none since the start
  bool unsynced = false;   // changes that no sync covers
  uint64_t batch = 0;      // of a small chunk: the index batch with the last change; 0: a file, or not known
  bool unchecked = false;  // from an unclean stop, its blocks not looked at yet
  std::vector<uint32_t> torn;
  std::string record;  // of a chunk no longer in memory: its record as of now
};

class DirtySet {
 public:
  // A chunk at rest for this long loses its mark.
  static constexpr Nanos REST = 10 * SECOND;
  // One that is written all the time and that nobody syncs is synced after this.
  static constexpr Nanos UNSYNCED_MAX = 30 * SECOND;

  DirtyMark* find(ChunkKey key) {
    auto found = marks_.find(key);
    return found == marks_.end() ? nullptr : &found->second;
  }
  const DirtyMark* find(ChunkKey key) const { return const_cast<DirtySet*>(this)->find(key); }
  DirtyMark& mark(ChunkKey key) { return marks_[key]; }
  void forget(ChunkKey key) { marks_.erase(key); }
  size_t size() const { return marks_.size(); }

  void changed(ChunkKey key, Epoch epoch, Nanos now);
  void synced(ChunkKey key, bool all, Nanos now);

  std::vector<ChunkId> ofShard(ShardId shard) const;
  std::vector<ChunkKey> unchecked() const;
  // Files to be synced by the volume itself, at most `limit`; whether small chunks are, which one commit does.
  std::vector<ChunkKey> toSync(Nanos now, size_t limit) const;
  bool smallToSync(Nanos now) const;
  // Every index batch up to `batch` is durable.
  void smallSynced(uint64_t batch, Nanos now);
  // All with unsynced changes, the longest unsynced first.
  std::vector<ChunkKey> unsynced() const;
  // May be cleared; `atStop`: without waiting for the time of rest.
  std::vector<ChunkKey> toClear(Nanos now, bool atStop) const;

  size_t uncheckedCount() const;
  size_t tornBlocks() const;

 private:
  std::map<ChunkKey, DirtyMark> marks_;
};

}  // namespace cairn
