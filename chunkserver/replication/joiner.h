// Joiner: brings a joining member up to date (CatchUp has the bookkeeping). One round: list what the primary has since
// this volume was last in sync, page by page, fetch what differs, agree with the primary that nothing was missed, sync.
// A round that fails, or is cut short by a restart, starts again from the top; what was fetched is found equal then by
// its digest, and isn't fetched again. The volume's old in-sync mark
// stays until the entry that makes it in-sync has arrived and is reconciled.
#pragma once
#include "chunkserver/replication/backup.h"
#include "chunkserver/replication/join_progress.h"
#include "chunkserver/replication/merged_chunk.h"
#include "chunkserver/replication/replica.h"

namespace cairn {

class Joiner {
 public:
  static constexpr uint32_t FETCHES_PER_SHARD = 4;
  static constexpr uint32_t SYNCS_AT_ONCE = 64;
  static constexpr Nanos PAGE_LIMIT = 20 * SECOND;
  static constexpr Nanos FETCH_LIMIT = 30 * SECOND;
  static constexpr uint32_t LOCAL_PAGE = 1024;

  // `rounds`: how many shards of this server catch up at the same time.
  Joiner(Surroundings& around, ShardReplica& state, Backup& backup, Permits& rounds, Wakeup& caughtUp)
      : around_(around), state_(state), backup_(backup), rounds_(rounds), caughtUp_(caughtUp) {}
  KJ_DISALLOW_COPY(Joiner);

  // Runs until caught up or until the shard's record changes.
  Task<void> run();
  JoinProgress progress() const;

 private:
  using Changed = capnp::Response<wire::PeerService::ChangedResults>;
  Task<bool> round(uint64_t turn);
  Task<bool> scan(uint64_t turn);
  Task<bool> confirm(uint64_t turn);
  Epoch comparesFrom() const;
  Task<Changed> askPage(bool first);
  Task<std::map<ChunkId, LocalChunk>> localRange(const PrimaryPage& page);
  Task<LocalChunk> localState(ChunkSummary summary);
  Task<bool> removeSurplus(std::vector<ChunkId> surplus);
  Task<bool> fetchAll(uint64_t turn);
  struct Fetch {
    Permit permit;
    ChunkId chunk;
  };
  Task<bool> fetchSome(uint64_t turn);
  Task<std::optional<Fetch>> beginFetch(uint64_t turn);
  Task<bool> fetchOne(uint64_t turn, ChunkId chunk);
  Task<bool> place(uint64_t turn, ChunkId chunk, wire::ChunkImage::Reader image);
  Task<std::vector<uint32_t>> rescue(ChunkId chunk, MergedChunk& merged, std::vector<uint32_t> bad);
  Task<bool> syncAll();
  bool current(uint64_t turn) const { return turn == state_.turn && state_.role == Role::JOINING; }
  MemberName primary() const;

  Surroundings& around_;
  ShardReplica& state_;
  Backup& backup_;
  Permits& rounds_;
  Wakeup& caughtUp_;
  uint64_t bytesWanted_ = 0;  // in all of the primary's list, of this round
  uint64_t bytesMoved_ = 0;
  size_t waiting_ = 0;  // fetchers that the throttle makes wait
};

}  // namespace cairn
