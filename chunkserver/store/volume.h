// Volume: the VolumeStore there is. This header is the map of its parts:
//
//   volume_open.cc     opening, rebuilding the index from chunk files
//   volume_reopen.cc   the same while others are served
//   volume_load.cc     a chunk from its record and file into memory, damage judged; eviction
//   volume_mutate.cc   what must be awaited before a change: turn, load, room, dirty mark
//   volume_apply.cc    the change itself, in one piece on the loop: small chunks and files
//   volume_sync.cc     making changes durable; removed chunks' files
//   volume_read.cc     reads
//   volume_verify.cc   blocks against checksums: describe, image, recheck, adopt
//   volume_scrub.cc    the same past the page cache, and the front of a chunk's file, and the index
//   volume_quarantine.cc  copies of what is replaced
//   volume_retire.cc   chunks of deleted files
//   volume_list.cc     what is here
//   volume_upkeep.cc   dirty marks, write-back, space, quarantine, stop
//
// An operation pins its chunk, takes its turn (mutations, verification, loading), awaits what it must, and then
// changes memory, page cache and index in one go. Reads take no turn: they look again if the chunk changed.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <unordered_map>

#include "chunkserver/store/block_changes.h"
#include "chunkserver/store/chunk.h"
#include "chunkserver/store/dirty_set.h"
#include "chunkserver/store/disk_gauge.h"
#include "chunkserver/store/index.h"
#include "chunkserver/store/name_sync.h"
#include "chunkserver/store/retired.h"
#include "chunkserver/store/space_budget.h"
#include "chunkserver/store/volume_id.h"
#include "chunkserver/store/volume_store.h"

namespace cairn {

struct ChunkKeyHash {
  size_t operator()(const ChunkKey& key) const noexcept { return std::hash<ChunkId>()(key.chunk) ^ raw(key.shard); }
};

class Volume final : public VolumeStore, private kj::TaskSet::ErrorHandler {
 public:
  // Syncs that upkeep starts at once.
  static constexpr size_t WRITE_BACK_MAX = 64;
  // Files with unsynced changes can't be closed. Above openFilesMax the longest unused ones are synced, so many
  // at a time; at this multiple of it those who want another file wait.
  static constexpr size_t RELIEF_SYNCS = 16;
  static constexpr size_t CROWDED_FACTOR = 2;
  // Files unlinked between two looks at the loop.
  static constexpr size_t UNLINKS_AT_ONCE = 32;
  // Bytes read and compared between two looks at the loop.
  static constexpr size_t VERIFY_BYTES = 256 << 10;
  // Records looked at between two looks at the loop.
  static constexpr size_t SCAN_RECORDS = 1024;
  // A read that keeps being overtaken by writes takes a turn after this many tries.
  static constexpr unsigned READ_TRIES = 3;
  static constexpr int64_t QUARANTINE_SECONDS = 7 * 24 * 3600;
  // Chunks with blocks that the device couldn't read, since the start, after which the disk counts as failed.
  static constexpr size_t UNREADABLE_CHUNKS_MAX = 16;

  Volume(Disk& disk, Clock& clock, Workers& workers, Random& random, const VolumeOptions& options,
         ClaimedVolume claimed);
  ~Volume() noexcept(false);
  Status open(leveldb::Env& env);

  const VolumeIdentity& identity() const override { return claimed_.identity; }
  bool stoppedUnclean() const override { return unclean_; }
  bool indexRebuilt() const override { return rebuilt_; }
  Task<Status> finishOpening() override;

  Task<Result<Mutated>> write(ChunkId chunk, const ChunkContext& context,
                              kj::ArrayPtr<const WritePiece> pieces) override;
  Task<Result<Mutated>> punch(ChunkId chunk, const ChunkContext& context, uint32_t offset, uint32_t length) override;
  Task<Result<Mutated>> applyCuts(ChunkId chunk, const ChunkContext& context) override;
  Task<Result<Mutated>> remove(ChunkKey key) override { return takeOut(key, false); }
  Task<Result<Mutated>> retire(ChunkKey key) override;
  void setRetainSeconds(int64_t seconds) override { options_.retainSeconds = seconds; }
  Task<Result<Mutated>> install(ChunkKey key, const ImageView& image) override;
  Task<Result<Mutated>> quarantine(ChunkKey key) override;
  Task<Result<Mutated>> adopt(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks, Epoch epoch) override;
  Task<Status> sync(ChunkKey key) override;

  Task<Result<void>> read(ChunkId chunk, const ChunkContext& context, uint32_t offset, uint32_t length,
                          ReadTarget& target) override;
  Task<Result<std::vector<bool>>> allocated(ChunkId chunk, const ChunkContext& context) override;
  Task<Result<ChunkSummary>> summary(ChunkKey key) override;
  Task<Result<ChunkDescription>> describe(ChunkKey key) override;
  Task<Result<ChunkDescription>> image(ChunkKey key, ReadTarget& target) override;
  Task<Result<std::vector<uint32_t>>> verifyBlocks(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks) override;
  Task<Result<ScrubPart>> scrub(ChunkKey key, uint32_t first, uint32_t count) override;
  Task<Result<std::string>> scrubIndex(std::string from) override;
  std::string note(const std::string& name) override;
  void setNote(const std::string& name, std::string value) override;

  Task<Result<ChunkPage>> enumerate(ShardId shard, Epoch since, const ChunkId* after, uint32_t limit) override;
  Result<std::vector<ChunkId>> chunksOf(ShardId shard, ObjectId object) override;
  std::vector<ChunkId> dirtyChunks(ShardId shard) override { return dirty_.ofShard(shard); }
  Result<std::vector<ChunkKey>> badChunks(uint32_t limit) override;
  Result<std::vector<ShardId>> shards() override;
  Epoch inSync(ShardId shard) const override;
  Task<Status> setInSync(std::vector<InSyncMark> marks) override;

  Task<Status> recheck() override;
  Task<Status> maintain() override;
  Task<Status> close() override;
  VolumeSpace space() override { return budget_.space(); }
  VolumeCounters counters() const override;
  bool slow() const override { return gauge_.slow(clock_.monotonic()); }
  Status health() const override { return health_; }
  bool indexDamaged() override { return !health_.ok() && Index::isMarkedDamaged(disk_); }
  bool idle() const override;
  void release() override;
  kj::Promise<void> whenFailed() override;

 private:
  // Keeps a chunk in memory while an operation uses it.
  class Pinned {
   public:
    Pinned(Volume& volume, ChunkKey key);
    ~Pinned() noexcept(false);
    Pinned(const Pinned&) = delete;
    Chunk& operator*() const { return chunk_; }
    Chunk* operator->() const { return &chunk_; }

   private:
    Volume& volume_;
    Chunk& chunk_;
  };
  // A chunk that is no more, whose removal isn't durable or whose file isn't dealt with yet.
  struct Gone {
    bool hasFile = false;
    bool keep = false;    // into quarantine
    std::optional<Retired> retired = {};  // kept as a deleted chunk
    uint64_t change = 0;                  // the number of the removal
  };
  struct AreaFound;
  // Where a look at stored blocks reads them.
  enum class From { CACHE, DEVICE };

  // volume_open.cc
  Status readIndex();
  Status rebuild(const std::string& why);
  Status rebuildShard(const std::string& name, ShardId shard, size_t& found);
  void beginRebuild(const std::string& why);
  void takeIn(ChunkKey key, kj::ArrayPtr<const kj::byte> front, size_t& found);
  Status readAll();

  // volume_reopen.cc
  Task<Status> rebuildAside();
  Task<Status> rebuildShardAside(std::string name, ShardId shard, size_t& found);
  Status countUsed();

  // volume_load.cc
  bool loadWarm(Chunk& chunk, Status& status);
  Task<Status> loadCold(Chunk& chunk);
  Task<Status> loadFile(Chunk& chunk, ChunkRecord record);
  Task<Status> assess(Chunk& chunk, const ChunkRecord& record);
  Task<Status> mendFromBase(Chunk& chunk, InlineImage base);
  Status loadInline(Chunk& chunk, const ChunkRecord& record);
  Status loadWithoutFile(Chunk& chunk, const ChunkRecord& record);
  Status loadUnreadable(Chunk& chunk, const ChunkRecord& record, const Error& error);
  AreaFound readArea(const Chunk& chunk, kj::ArrayPtr<const kj::byte> bytes, const ChunkRecord& record);
  bool takeArea(Chunk& chunk, AreaFound found, const ChunkRecord& record);
  Result<ChunkRecord> recordOf(ChunkKey key);
  void beginLoad(Chunk& chunk, const ChunkRecord& record);
  void finishLoad(Chunk& chunk, const ChunkRecord& record);
  void addBad(Chunk& chunk, uint32_t block);
  void lose(Chunk& chunk, uint32_t fromBlock, uint32_t endBlock);
  Status openFile(Chunk& chunk);
  void closeFile(Chunk& chunk);
  void count(Chunk& chunk);
  void shrink();
  bool evictable(const Chunk& chunk) const;
  bool crowded(const Chunk& chunk) const;
  kj::Promise<void> relief();
  void startRelief();
  Task<void> relieve();
  void evict(Chunk& chunk);

  // volume_mutate.cc
  bool readyNow(Chunk& chunk, Epoch epoch, Status& status);
  Task<Status> makeReady(Chunk& chunk, Epoch epoch);
  Task<Status> comeReady(Chunk& chunk, TurnQueue::Turn& turn, Epoch epoch);
  Task<Status> markDirty(Chunk& chunk, Epoch epoch);
  enum class ChangeKind { WRITE, PUNCH, CUTS };
  Task<Result<Mutated>> change(ChunkKey key, const ChunkContext& context, ChangeKind kind, Result<WritePlan> planned);
  Task<Result<WritePlan::OldBlocks>> oldBlocksCold(Chunk& chunk, std::vector<uint32_t> blocks);
  Result<WritePlan::OldBlocks> oldBlocksWarm(Chunk& chunk, const std::vector<uint32_t>& blocks);
  Result<WritePlan::OldBlocks> takeOldBlock(Chunk& chunk, uint32_t block, kj::Array<kj::byte> bytes,
                                            WritePlan::OldBlocks old);
  Status commitPlan(Chunk& chunk, const ChunkContext& context, WritePlan plan, WritePlan::OldBlocks old);
  void begin(Chunk& chunk, uint8_t chunkBits, uint32_t generation, const ChunkHints& hints);
  void finish(Chunk& chunk, const Status& status, bool created, Epoch epoch);
  Task<Result<Mutated>> takeOut(ChunkKey key, bool retires);
  bool needsMark(const Chunk& chunk, Epoch epoch) const;
  Status checkContext(const Chunk& chunk, const ChunkContext& context, ChangeKind kind) const;
  Status checkSpace(const Chunk& chunk, const WritePlan& plan);
  Result<BlockChanges> imageChanges(const Chunk& chunk, const ImageView& image);

  // volume_apply.cc
  Status applyCutsNow(Chunk& chunk, const ChunkContext& context, bool always);
  void takeContext(Chunk& chunk, const ChunkContext& context);
  static uint32_t deadFrom(const Chunk& chunk, const std::vector<ChunkCut>& cuts);
  Status dropFrom(Chunk& chunk, uint32_t firstDead);
  Status readBlockNow(Chunk& chunk, uint32_t block, kj::ArrayPtr<kj::byte> out);
  Status commitChanges(Chunk& chunk, BlockChanges changes);
  Status commitFile(Chunk& chunk, const BlockChanges& changes);
  Status writeRuns(Chunk& chunk, const BlockChanges& changes, bool ontoHoles);
  Status writeRun(Chunk& chunk, const BlockRun& run, bool ontoHoles);
  Status punchHoles(Chunk& chunk, const BlockChanges& changes);
  Status makeFile(Chunk& chunk);
  Result<kj::Own<File>> createFile(ChunkKey key);
  Status writeChangedSums(Chunk& chunk, const BlockChanges& changes);
  Status writeSums(Chunk& chunk, uint32_t first, uint32_t end);
  void setSums(Chunk& chunk, const BlockChanges& changes);
  void makeGood(Chunk& chunk, const BlockChanges& changes);
  void takeHints(Chunk& chunk, const ChunkHints& hints);
  void putRecord(Chunk& chunk);
  void eraseKeys(ChunkKey key);
  void eraseKeys(ChunkKey key, const Gone& gone);
  void changed(Chunk& chunk, Epoch epoch);
  Mutated settleAllocation(Chunk& chunk, uint32_t blocksBefore);
  void forget(Chunk& chunk, uint32_t allocatedBlocks, Gone gone);

  // volume_sync.cc
  Task<Status> syncChunk(Chunk& chunk);
  Task<void> runSync(Chunk& chunk);
  Task<Status> loadInTurn(Chunk& chunk);
  Task<Status> syncFile(Chunk& chunk);
  Task<Status> settleFile(Chunk& chunk, bool base);
  Task<Status> syncNames(ShardId shard);
  Status writeHeader(Chunk& chunk, OpenFile& file, uint32_t generation);
  Task<Status> settleGone();
  Task<void> runSettleGone();
  Status takeAway(ChunkKey key, const Gone& gone);
  Task<Status> syncSmall();

  // volume_read.cc
  struct ReadPlan;
  ReadPlan planRead(const Chunk& chunk, const ChunkContext& context, uint32_t offset, uint32_t length) const;
  void copyBlocks(const Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out) const;
  Status finishRead(Chunk& chunk, const ReadPlan& plan, kj::ArrayPtr<kj::byte> out, ReadTarget& target);
  Status readWarm(Chunk& chunk, const ReadPlan& plan, kj::ArrayPtr<kj::byte> out);
  Task<Status> readCold(Chunk& chunk, ReadPlan plan, const ChunkContext& context, kj::ArrayPtr<kj::byte> out,
                        ReadTarget& target);

  // volume_verify.cc
  Task<Result<std::vector<uint32_t>>> findMismatches(Chunk& chunk, std::vector<uint32_t> blocks, From from);
  Task<Result<uint32_t>> readBlocks(Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out, From from);
  Task<Result<uint32_t>> readEach(Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out, From from);
  Status noteUnreadable(const Chunk& chunk, const Error& error);
  Task<Status> recordMismatches(Chunk& chunk, std::vector<uint32_t> looked, std::vector<uint32_t> wrong, bool final);
  Task<Status> emptyHoles(Chunk& chunk);
  Task<Status> comeLoaded(Chunk& chunk, TurnQueue::Turn& turn);
  Task<Result<std::vector<uint32_t>>> readImage(Chunk& chunk, kj::ArrayPtr<kj::byte> out);
  void putBad(Chunk& chunk);
  ChunkSummary summarize(const Chunk& chunk) const;
  ChunkDescription description(const Chunk& chunk) const;
  Task<Status> quarantineOrphans();
  Status quarantineIfOrphan(ChunkKey key, size_t& found);

  // volume_quarantine.cc
  Task<Status> saveInQuarantine(Chunk& chunk);
  Task<Status> writeCopy(Chunk& chunk, std::string path);
  Task<void> keepCopy(Chunk& chunk);
  Task<Status> copyFile(Chunk& chunk, File& to);

  // volume_scrub.cc
  Task<Result<bool>> mendFront(Chunk& chunk);
  Status rewriteFront(Chunk& chunk);
  Task<Result<std::vector<uint32_t>>> badUnderCache(Chunk& chunk, std::vector<uint32_t> blocks);
  Task<Result<bool>> rewriteFromCache(Chunk& chunk, uint32_t block);

  // volume_retire.cc
  Retired retiredNow(const Chunk& chunk, uint32_t allocatedBlocks, bool hasFile) const;
  uint64_t roomAhead() const;
  bool isDue(const Retired& retired) const;
  std::vector<Retired> oldestRetired(size_t limit, bool wanted);
  Status giveUp(const Retired& retired);
  Status giveUpSome(size_t limit, uint64_t wantedBytes);
  bool admits(uint64_t bytes);
  Task<Status> purgeRetired();
  Status countRetired();
  Status rebuildRetired();

  // volume_list.cc
  // As the index has it; nothing when there is none.
  Result<std::optional<ChunkRecord>> recordNow(ChunkKey key);
  Status scanSome(ShardId shard, Epoch since, size_t limit, std::string& from,
                  std::vector<std::pair<ChunkId, ChunkRecord>>& found, bool& end);

  // volume_upkeep.cc
  Task<Status> syncAll(std::vector<ChunkKey> keys);
  void clearMarks(bool atStop);
  void clearMark(ChunkKey key);
  void purgeQuarantine(bool urgent);
  std::string quarantinePath(ChunkKey key);
  Status fail(const Error& error);
  // Lets the loop look at its descriptors in the middle of long work.
  kj::Promise<void> breathe() { return clock_.after(0); }
  void taskFailed(kj::Exception&& exception) override;

  Disk& disk_;
  Clock& clock_;
  Workers& workers_;
  Random& random_;
  VolumeOptions options_;
  ClaimedVolume claimed_;
  bool unclean_ = false;
  bool rebuilt_ = false;
  std::optional<std::string> rebuildDue_;  // why
  Status health_;
  Gate failedGate_;

  kj::Own<Index> index_;
  NameSync names_;
  SpaceBudget budget_;
  DirtySet dirty_;
  std::map<ChunkKey, uint32_t> badBlocks_;  // how many
  std::map<ShardId, Epoch> inSync_;
  std::set<ChunkKey> unreadable_;
  DiskGauge gauge_;

  std::unordered_map<ChunkKey, kj::Own<Chunk>, ChunkKeyHash> chunks_;  // never iterated
  std::list<Chunk*> recent_;                                           // most recently used first
  size_t cachedBytes_ = 0;
  size_t openFiles_ = 0;

  bool relieving_ = false;
  Gate relieved_;

  std::map<ChunkKey, Gone> gone_;
  uint64_t goneChanges_ = 0;
  uint64_t goneSettledUpTo_ = 0;
  bool settlingGone_ = false;
  Gate goneSettled_;
  Nanos purged_ = 0;
  std::string retiredFrom_;  // nothing is left under 'q' before it

  VolumeCounters counters_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
