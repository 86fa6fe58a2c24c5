// Scrubber: reads everything on one volume within a set time, past the page cache, and checks it, so that rot in what
// nobody reads is found while there are other copies. Bad blocks are mended from these at once, and again and again
// while that fails. Of shards whose primary is here the copies' digests are compared as well.
//
// Paced by bytes over the period; what falls behind is made up for as fast as users don't feel it, which is also the
// speed of a pass started by hand.
#pragma once
#include <kj/async.h>

#include "chunkserver/replication/replicator.h"
#include "chunkserver/scrub/scrub_place.h"
#include "schema/chunk.capnp.h"

namespace cairn {

class Scrubber {
 public:
  // Read at once, while nothing else changes the chunk.
  static constexpr uint32_t PART_BLOCKS = 256;
  static constexpr uint32_t PAGE_CHUNKS = 256;
  // However small the store: no longer than this between two looks at it.
  static constexpr Nanos WAIT_MAX = 60 * SECOND;
  // Copies that differ are looked at so often before they are believed to: a write may be on its way.
  static constexpr unsigned LOOKS = 4;
  static constexpr Nanos LOOK_AGAIN = 2 * SECOND;
  // Between two tries to mend what is bad; longer and longer while nothing comes of it.
  static constexpr Nanos MEND_MIN = 10 * SECOND;
  static constexpr Nanos MEND_MAX = 600 * SECOND;
  static constexpr uint32_t MEND_CHUNKS = 4096;
  static constexpr Nanos RETRY = 5 * SECOND;

  Scrubber(Clock& clock, Replicator& replicator, LocalVolume& volume, Nanos period);
  KJ_DISALLOW_COPY(Scrubber);

  // Both run as long as they are held.
  Task<void> run();
  Task<void> mendLeftovers();
  // A fast pass from the beginning, unless one is under way.
  void startNow();
  void setPeriod(Nanos period);
  void fill(wire::ScrubState::Builder out) const;

 private:
  Task<bool> pass();
  Task<bool> scrubIndex();
  Task<bool> scrubShard(ShardId shard);
  Task<bool> scrubChunk(ReplicaUnit& unit, ChunkId chunk);
  Task<void> compare(ReplicaUnit& unit, std::vector<ChunkId> chunks);
  kj::Promise<void> pace(uint64_t bytes);
  Nanos untilDue() const;
  ReplicaUnit* unitOf(ShardId shard);
  void begin();
  void save();
  int64_t wallSeconds() const { return clock_.wall() / SECOND; }

  Clock& clock_;
  Replicator& replicator_;
  LocalVolume& volume_;
  Nanos period_;
  Throttle throttle_;
  ScrubPlace place_;
  bool asked_ = false;  // for a fast pass
  Wakeup hurry_;
};

}  // namespace cairn
