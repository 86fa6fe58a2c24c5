// Backup: what an in-sync or joining member does with the primary's forwards. Each is taken in the primary's order, and
// gets its place in the chunk's queue in the very moment in which it is taken.
#pragma once
#include <deque>
#include <map>
#include <string>

#include "chunkserver/replication/catch_up.h"
#include "chunkserver/replication/forward_order.h"
#include "chunkserver/replication/replica.h"
#include "chunkserver/replication/wire_chunks.h"

namespace cairn {

class Backup {
 public:
  // How long a forward waits for one before it, and how many may.
  static constexpr Nanos EARLY_LIMIT = 5 * SECOND;
  static constexpr uint32_t EARLY_MAX = 4096;

  struct Outcome {
    wire::Verdict verdict = wire::Verdict::OK;
    std::string why;
  };
  using Params = wire::PeerService::ForwardParams::Reader;

  Backup(Surroundings& around, ShardReplica& state) : around_(around), state_(state) {}
  KJ_DISALLOW_COPY(Backup);

  void epochChanged();

  // `params` must live until the task resolves.
  Task<Outcome> forward(Params params);
  Task<Outcome> sync(ChunkId chunk);
  // `sequence`: see chunk.capnp.
  Task<Outcome> install(wire::ChunkImage::Reader image, uint64_t sequence);
  // The primary says: this epoch is reconciled, everything below `completeBelow` is complete. True when that makes
  // this member ready.
  bool settled(uint64_t completeBelow);

  // ---- for a joining member's catch-up ----
  CatchUp& catchUp() { return catchUp_; }
  // Forwards wait until startOrder() says which is the first.
  void resetOrder();
  void startOrder(uint64_t first);
  // The fetched chunk has its place in the chunk's queue: those that waited for it follow at once.
  void endFetch(ChunkId chunk);
  // It couldn't be fetched: those that waited are dropped, for the next fetch will have them.
  void abandonFetch(ChunkId chunk);

 private:
  struct Held {
    Params params;
    kj::Own<kj::PromiseFulfiller<kj::Promise<Outcome>>> fulfiller;
  };
  Task<Outcome> take(Params params);
  Task<Outcome> hold(ChunkId chunk, Params params);
  Task<Outcome> apply(Params params);
  void complete(uint64_t below);
  void releaseHeld(ChunkId chunk, wire::Verdict verdict);

  Surroundings& around_;
  ShardReplica& state_;
  ForwardOrder<kj::ForkedPromise<Outcome>> order_;
  Wakeup moved_;  // order_ moved
  uint32_t early_ = 0;
  CatchUp catchUp_;
  std::map<ChunkId, std::deque<Held>> held_;
};

}  // namespace cairn
