// VolumeStore: the chunks of one volume (one data directory, one disk) of a chunkserver.
//
// Used by chunkserver/replication, which decides who may write; this decides nothing but what is on the
// disk. It knows no network and no peers. One event loop owns it; what blocks runs on Workers.
//
//   volume.id                       cluster, volume, server, format version
//   lock                            held by the process that serves the volume
//   index/                          LevelDB: records, small chunks, dirty marks, in-sync marks
//   chunks/<shard>/<object>-<index> larger chunks, self-describing (store/format.h); names in hex
//   quarantine/                     what was taken out of service and not deleted
//   deleted/                        chunks of deleted files, for a while
//
// Rules it keeps:
// - Mutations of one chunk apply in the order of the calls. Where nothing must be awaited a mutation is
//   applied, to the page cache, before the call returns, and the task it returns is ready.
// - Before a clean chunk file changes its dirty mark is durable, and so is the epoch of the change.
// - A write is checked against its checksums before anything of it lands; it lands whole or not at all
//   unless the machine stops.
// - A block's checksum is never made again from bytes that didn't match it, except by adopt().
// - The first failed write or sync ends the volume's service for good (health()); nothing is retried.
//
// Arguments passed by reference or as arrays must live until the task resolves. A task may be dropped:
// the operation then may or may not happen.
//
// Error codes, everywhere:
//   EIO      the volume has failed: health() says why. Final. (A block that the device can't read is a bad block,
//            until UNREADABLE_CHUNKS_MAX chunks have had one.)
//   ENOSPC   no room for new blocks (removes, cuts, punches and overwrites still work)
//   EBADMSG  a checksum handed in doesn't match the bytes handed in: damage on the way, send again
//   EUCLEAN  the operation needs a stored block that is bad, torn or unreadable
//   ESTALE   the caller's generation is older than the chunk's: get the layout, send again
//   EINVAL   out of range, misaligned, or inconsistent with what the chunk is: a bug
//   ENOENT   no such chunk (only where said)
#pragma once
#include <kj/array.h>
#include <leveldb/env.h>

#include <string>
#include <vector>

#include "common/clock.h"
#include "common/disk.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/result.h"
#include "common/task.h"
#include "common/workers.h"

namespace cairn {

// Chunks are kept by shard, so the shard is part of a chunk's address in a store.
struct ChunkKey {
  ShardId shard{};
  ChunkId chunk{};
  auto operator<=>(const ChunkKey&) const = default;
};

// Everything of the *object* at or past `firstDead` that was written under a generation below
// `generation` is dead.
struct ChunkCut {
  uint32_t generation = 0;
  uint64_t firstDead = 0;
};

// For people and for dfs-recover: whose chunk this is. Kept in the chunk's header; never used to decide.
struct ChunkHints {
  InodeId inode{};
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string path;  // cut to PATH_HINT_MAX bytes
};

// What every chunk request carries.
struct ChunkContext {
  ShardId shard{};
  Epoch epoch{};
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;  // of the layout the caller knows; at least every cut's
  std::vector<ChunkCut> cuts;
  ChunkHints hints;  // inode 0: unknown, what is stored stays
};

// Bytes for [offset, offset + bytes.size()) of a chunk. `sums`: one checksum for each block touched, over
// just this piece's bytes in that block (blockChecksum); for a whole block it is the block's checksum.
struct WritePiece {
  uint32_t offset = 0;
  kj::ArrayPtr<const kj::byte> bytes;
  kj::ArrayPtr<const uint64_t> sums;
};

struct Mutated {
  int64_t allocatedDelta = 0;  // bytes, a multiple of BLOCK_BYTES
};

// Where a read puts what it found, so that bytes are copied once (into a message).
class ReadTarget {
 public:
  virtual ~ReadTarget() noexcept(false) = default;
  // Called once, when the size is known: room for exactly `size` bytes, valid until the task resolves.
  virtual kj::ArrayPtr<kj::byte> bytes(size_t size) = 0;
  // Called once, last, with one checksum per block of `bytes` (read) or of the chunk (image).
  virtual void sums(kj::ArrayPtr<const uint64_t> sums) = 0;
};

struct ChunkSummary {
  ChunkId chunk{};
  bool present = false;  // false: nothing below means anything
  // XXH3 over the generation and the block checksums up to the last allocated block: chunks of equal
  // digest have equal bytes, allocation and generation.
  uint64_t digest = 0;
  Epoch lastEpoch{};  // of its last change
  bool dirty = false;
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  uint32_t lengthBytes = 0;  // end of the last allocated block
  uint32_t allocatedBytes = 0;
};

struct ChunkDescription : ChunkSummary {
  ChunkHints hints;
  std::vector<uint64_t> sums;  // one per block of lengthBytes; 0: hole
  // Blocks that don't match their checksum. `bad`: rot, found in a chunk that was whole once. `torn`: found
  // in a chunk that was dirty when the process ended; candidates for adopt(). Disjoint, sorted.
  std::vector<uint32_t> bad;
  std::vector<uint32_t> torn;
};

struct ChunkPage {
  std::vector<ChunkSummary> chunks;
  bool end = false;  // no more after the last one
};

// What a look at a part of a chunk on its device found.
struct ScrubPart {
  bool present = false;
  // Dirty since an unclean stop and not looked through yet: recheck() and reconciliation have it.
  bool skipped = false;
  uint32_t lengthBlocks = 0;
  uint32_t blocksRead = 0;
  uint32_t badBlocks = 0;   // of the whole chunk, as far as known now
  bool frontMended = false; // its header or checksum area was damaged and has been written again
  ChunkHints hints;
};

// A whole chunk, to be put in place of what is stored.
struct ImageView {
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  Epoch lastEpoch{};
  const ChunkHints* hints = nullptr;       // nullptr: unknown
  kj::ArrayPtr<const uint64_t> sums;       // one per block of the length; 0: hole
  kj::ArrayPtr<const kj::byte> bytes;      // the allocated blocks, whole, one after another
  kj::ArrayPtr<const uint32_t> badBlocks;  // known not to match at the source either: stored as bad
  bool keepOld = false;                    // a copy of what is stored goes to quarantine first
};

struct VolumeSpace {
  uint64_t totalBytes = 0;
  uint64_t usedBytes = 0;       // by blocks of chunks
  uint64_t takenBytes = 0;      // of totalBytes, by whatever is on the disk: what "how full" is reckoned from
  uint64_t retiredBytes = 0;    // of deleted chunks, given up when the room is wanted; not in the two above
  uint64_t availableBytes = 0;  // for new blocks, after the reserve
  bool full = false;            // new blocks get ENOSPC
};

struct VolumeCounters {
  uint64_t dirtyChunks = 0;
  uint64_t uncheckedChunks = 0;  // dirty at an unclean stop and not yet rechecked
  uint64_t badBlocks = 0;        // now
  uint64_t badBlocksFound = 0;   // since start
  uint64_t tornBlocks = 0;       // now
  uint64_t adoptedBlocks = 0;    // since start
  uint64_t quarantined = 0;      // chunks put into quarantine since start
  uint64_t mendedBlocks = 0;     // since start: bad, and replaced by an install()
  uint64_t unreadableBlocks = 0; // since start: the device gave an error
  uint64_t missingChunks = 0;    // since start: in the index, clean, and their file gone or another's
  uint64_t openFiles = 0;
  uint64_t cachedBytes = 0;
  uint64_t fileSyncs = 0;
  uint64_t indexSyncs = 0;
};

// What a volume is; agreed with the master at registration.
struct VolumeIdentity {
  ClusterId cluster;
  ServerId server;
  VolumeId volume;
};

struct VolumeOptions {
  ClusterId cluster;
  ServerId server;
  bool create = false;         // an empty or absent directory becomes a new volume
  bool rebuildLater = false;   // what takes long is left to finishOpening()
  uint64_t capacityLimit = 0;  // bytes of chunks at most; 0: what the file system has
  int64_t retainSeconds = 24 * 3600;  // for which the chunks of deleted files are kept; 0: not at all
  uint32_t openFilesMax = 512;
  uint64_t cachedBytesMax = 24ull << 20;  // checksum areas and small chunks in memory
};

class VolumeStore {
 public:
  virtual ~VolumeStore() noexcept(false) = default;

  virtual const VolumeIdentity& identity() const = 0;
  // The last process didn't close() the volume: power cut, crash or kill.
  virtual bool stoppedUnclean() const = 0;
  // The index was found damaged and was made again from the chunk files: small chunks are missing and
  // every in-sync mark is gone, so all shards must be joined again.
  virtual bool indexRebuilt() const = 0;
  // Of a volume that was opened with `rebuildLater`: makes the index again if it must be, while the loop goes on.
  // Before it has ended nothing else may be asked of the volume.
  virtual Task<Status> finishOpening() = 0;

  // ---- mutations: in the order of the calls per chunk ----

  // Applies the context's cuts, raises the chunk's generation and last epoch to the context's, and
  // writes all pieces (in order; later ones win) or nothing. Makes the chunk when it is absent.
  // EUCLEAN: a piece covers only a part of a bad block; nothing was written.
  virtual Task<Result<Mutated>> write(ChunkId chunk, const ChunkContext& context,
                                      kj::ArrayPtr<const WritePiece> pieces) = 0;
  // Zeros [offset, offset + length) and frees the blocks wholly inside. An absent chunk stays absent.
  virtual Task<Result<Mutated>> punch(ChunkId chunk, const ChunkContext& context, uint32_t offset, uint32_t length) = 0;
  // Drops what the context's cuts say is dead and raises the generation, so that later requests may come
  // without these cuts. An absent chunk stays absent; one that loses all its bytes stays, empty.
  virtual Task<Result<Mutated>> applyCuts(ChunkId chunk, const ChunkContext& context) = 0;
  // Success when absent. Durable after sync(). Its bytes are gone: for what nobody was ever told of.
  virtual Task<Result<Mutated>> remove(ChunkKey key) = 0;
  // The same of a deleted file's chunk: its bytes are kept for VolumeOptions::retainSeconds, or until the room is
  // wanted.
  virtual Task<Result<Mutated>> retire(ChunkKey key) = 0;
  // From now on, of what is kept already as well.
  virtual void setRetainSeconds(int64_t seconds) = 0;
  // Replaces the whole chunk (or makes it). Every block is checked first. Not durable before sync(). A copy of what
  // had bad blocks goes to quarantine first.
  virtual Task<Result<Mutated>> install(ChunkKey key, const ImageView& image) = 0;
  // Takes the chunk out of service and keeps its bytes under quarantine/. Success when absent.
  virtual Task<Result<Mutated>> quarantine(ChunkKey key) = 0;
  // Makes the checksums of `blocks` again from the bytes that are there now, where they don't match. Only
  // reconciliation may call it, when no member has a matching block. Counted and logged.
  virtual Task<Result<Mutated>> adopt(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks, Epoch epoch) = 0;

  // Makes all mutations of the chunk that resolved before the call durable, its removal too. Concurrent
  // calls share device syncs.
  virtual Task<Status> sync(ChunkKey key) = 0;

  // ---- reading ----

  // Block-aligned [offset, offset + length), less where the rest is a hole. Dead bytes past the context's
  // cuts read as zeros. Holes and absent chunks are zeros with checksum 0. The bytes are *not* checked
  // here: the reader does it. Sees every mutation that resolved before the call.
  virtual Task<Result<void>> read(ChunkId chunk, const ChunkContext& context, uint32_t offset, uint32_t length,
                                  ReadTarget& target) = 0;
  // Which blocks hold data after the context's cuts, up to the last one that does.
  virtual Task<Result<std::vector<bool>>> allocated(ChunkId chunk, const ChunkContext& context) = 0;
  // From memory or one index look-up and, for a file, its checksum area. `present` false when absent.
  virtual Task<Result<ChunkSummary>> summary(ChunkKey key) = 0;
  // Reads every block from the disk and compares (so: slow; for reconciliation and checks). What doesn't
  // match is reported, and recorded as verifyBlocks() does.
  virtual Task<Result<ChunkDescription>> describe(ChunkKey key) = 0;
  // The allocated blocks, one after another, checked: for another member's install(). Blocks that don't
  // match are in `bad` and `torn`, their bytes as they are. ENOENT when absent (target isn't called).
  virtual Task<Result<ChunkDescription>> image(ChunkKey key, ReadTarget& target) = 0;
  // A reader says these don't match (empty: all of them). Reads them again; those that really don't are
  // recorded as bad, durably, and given back - torn ones too, so ask about those only when reconciliation has
  // found that nobody can mend them. A whole overwrite or install() makes a block good again.
  virtual Task<Result<std::vector<uint32_t>>> verifyBlocks(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks) = 0;

  // ---- scrub (volume_scrub.cc) ----

  // Reads `count` blocks from `first` on past the page cache and compares; with the first block the header and the
  // checksum area, too, which are written again from memory when the chunk was loaded whole. Bad blocks are recorded as
  // verifyBlocks() does. No checksum is ever made from bytes.
  virtual Task<Result<ScrubPart>> scrub(ChunkKey key, uint32_t first, uint32_t count) = 0;
  // Reads a part of the index from key `from` on. The key to go on with; empty: that was all. What is damaged ends the
  // volume's service (indexDamaged()).
  virtual Task<Result<std::string>> scrubIndex(std::string from) = 0;
  // Small texts kept in the index. Durable some time; gone when the index is made again.
  virtual std::string note(const std::string& name) = 0;
  virtual void setNote(const std::string& name, std::string value) = 0;

  // ---- what is here ----

  // Chunks of a shard last changed in `since` or later, or dirty, in order, after `after` (nullptr: from
  // the first), at most `limit`.
  virtual Task<Result<ChunkPage>> enumerate(ShardId shard, Epoch since, const ChunkId* after, uint32_t limit) = 0;
  // The object's chunks in a shard, in order: for cuts and for reclaiming.
  virtual Result<std::vector<ChunkId>> chunksOf(ShardId shard, ObjectId object) = 0;
  // Chunks with dirty marks, in order. Right after an unclean stop: all that may differ from other members'.
  virtual std::vector<ChunkId> dirtyChunks(ShardId shard) = 0;
  // Chunks with bad blocks, in order, at most `limit`.
  virtual Result<std::vector<ChunkKey>> badChunks(uint32_t limit) = 0;
  // Shards with a chunk or an in-sync mark here, in order.
  virtual Result<std::vector<ShardId>> shards() = 0;

  // The last epoch at which this volume was in sync for the shard; 0: never.
  virtual Epoch inSync(ShardId shard) const = 0;
  struct InSyncMark {
    ShardId shard{};
    Epoch epoch{};  // 0: forget it
  };
  // Durable, all together, when the task resolves.
  virtual Task<Status> setInSync(std::vector<InSyncMark> marks) = 0;

  // ---- upkeep ----

  // Reads the dirty chunks of an unclean stop and finds torn blocks. Resolves when none is unchecked.
  // describe() does the same for one chunk at once. Start it after opening; may run beside everything else.
  virtual Task<Status> recheck() = 0;
  // Call about once a second: writes back chunks that nobody synced, clears dirty marks of chunks at rest,
  // looks at the free space and that the directory is still the one that was opened.
  virtual Task<Status> maintain() = 0;
  // Syncs everything, clears all marks, notes the clean stop. Nothing may be called afterwards, and no
  // other task may be pending.
  virtual Task<Status> close() = 0;

  virtual VolumeSpace space() = 0;
  virtual VolumeCounters counters() const = 0;
  // Its disk takes far longer than a sound one does.
  virtual bool slow() const = 0;
  // Why the volume has failed, or success.
  virtual Status health() const = 0;
  // It has failed because its index is damaged: the next opening makes the index again.
  virtual bool indexDamaged() = 0;
  // Nothing is under way.
  virtual bool idle() const = 0;
  // REQUIRES: failed and idle. Lets go of the directory, so that it can be opened anew. What is still asked of it gets
  // the error.
  virtual void release() = 0;
  // Resolves when health() turns to an error.
  virtual kj::Promise<void> whenFailed() = 0;
};

// Opens the volume in `disk`'s directory. Waits inline. The error names thing, cause and next step:
// another cluster's or server's directory, in use by a process, a newer format, not empty and not a
// volume, emptied behind our back (volume.id is gone while chunks are there).
// `env` is LevelDB's own or a simulated one; the volume wraps it so that logs are synced when closed. All
// arguments must outlive the volume.
Result<kj::Own<VolumeStore>> openVolume(Disk& disk, leveldb::Env& env, Clock& clock, Workers& workers, Random& random,
                                        const VolumeOptions& options);

}  // namespace cairn
