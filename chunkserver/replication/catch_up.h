// CatchUp: the bookkeeping of a joining member of one shard. Which chunks are taken, being fetched, still to fetch,
// and what to do with a forward. Pure.
//
// The primary's chunks come in pages, in order. Chunks up to the cursor are taken, or known to differ (`todo`), or
// being fetched; later ones aren't known yet. A forward to a taken chunk is applied; to one being fetched it waits
// until the fetched chunk is in place; any other is dropped, for the chunk will be fetched whole, later than it. A
// chunk beyond the cursor that dropped a forward is always fetched: its digest may have been read before the forward.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "common/ids.h"

namespace cairn {

// What this volume has of a chunk in a page's range.
struct LocalChunk {
  bool present = false;
  uint64_t digest = 0;
  Epoch lastEpoch{};
  bool suspect = false;  // with bad or torn blocks: no digest of it can be trusted
  // Dirty from an earlier process: a power cut may have taken back what was written last, and left the chunk whole.
  // Then only an equal digest says that nothing is missing.
  bool mayLack = false;
};

// What the primary said of a page's range (after, last], or to the end.
struct PrimaryPage {
  std::map<ChunkId, uint64_t> changed;  // digests
  std::map<ChunkId, uint64_t> sizes;    // bytes, of those in `changed`
  std::set<ChunkId> unchanged;
  ChunkId last;
  bool end = false;
};

class CatchUp {
 public:
  enum class Action { APPLY, WAIT, DROP };

  // A scan from the start, for what changed in `since` or later.
  void start(Epoch since);
  Epoch since() const { return since_; }
  const std::optional<ChunkId>& cursor() const { return cursor_; }
  bool scanned() const { return scanned_; }
  // Scanned, and every chunk taken.
  bool complete() const { return scanned_ && todo_.empty() && fetching_.empty(); }

  // Takes a page over. `local`: every chunk that is here in the page's range. Returns those that the primary doesn't
  // have: they go to quarantine before the next page.
  std::vector<ChunkId> takePage(const PrimaryPage& page, const std::map<ChunkId, LocalChunk>& local);

  // How many bytes the next chunk to fetch has, as far as known, when `ahead` others come first.
  std::optional<uint64_t> nextBytes(size_t ahead) const;
  uint64_t bytesOf(ChunkId chunk) const;
  // Of all chunks to fetch, and of what the primary has listed so far.
  uint64_t todoBytes() const { return todoBytes_; }
  uint64_t listedBytes() const { return listedBytes_; }
  // The next chunk to fetch, now being fetched.
  std::optional<ChunkId> beginFetch();
  // The fetched chunk is in place, and the forwards that waited are applied or in the chunk's queue behind it.
  void endFetch(ChunkId chunk);
  // The fetch failed: again, later. Forwards that waited are dropped.
  void retryFetch(ChunkId chunk);

  Action forward(ChunkId chunk);
  size_t todo() const { return todo_.size(); }
  size_t fetching() const { return fetching_.size(); }
  // Chunks remembered beyond the cursor; beyond the bound the scan should start again.
  static constexpr size_t DROPPED_MAX = 1u << 20;
  size_t dropped() const { return dropped_.size(); }

 private:
  void noteSizes(const PrimaryPage& page);

  Epoch since_{};
  std::optional<ChunkId> cursor_;
  bool scanned_ = false;
  std::set<ChunkId> todo_;
  std::map<ChunkId, uint64_t> sizes_;  // of chunks to fetch or being fetched
  uint64_t todoBytes_ = 0;             // of both
  uint64_t listedBytes_ = 0;
  std::set<ChunkId> fetching_;
  static constexpr uint64_t UNKNOWN_BYTES = 64 << 10;  // what a chunk of unknown size counts for
  std::set<ChunkId> dropped_;  // beyond the cursor
};

}  // namespace cairn
