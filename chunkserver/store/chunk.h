// A chunk in memory: what its record, header and checksum area say, its open file, and who waits for it.
// The volume keeps a bounded number of them. Plain state: the rules are in volume_*.cc.
#pragma once
#include <kj/async.h>
#include <kj/refcount.h>

#include <deque>
#include <list>
#include <vector>

#include "chunkserver/store/chunk_format.h"
#include "chunkserver/store/record.h"
#include "common/clock.h"
#include "common/disk.h"

namespace cairn {

// Lets one user at a time in, in the order of asking.
class TurnQueue {
 public:
  // Held or waiting until it is destroyed.
  class Turn {
   public:
    explicit Turn(TurnQueue& queue);
    ~Turn() noexcept(false);
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool mine() const { return mine_; }
    // Resolves when it is mine. REQUIRES: !mine(), called once.
    kj::Promise<void> come();

   private:
    friend class TurnQueue;
    TurnQueue& queue_;
    bool mine_ = false;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller_;
  };
  bool idle() const { return queue_.empty(); }

 private:
  std::deque<Turn*> queue_;  // the first one's turn it is
};

// Wakes everyone who waited for something that is over.
class Gate {
 public:
  kj::Promise<void> wait() {
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting_.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  void open() {
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& waiter : waiting) {
      waiter->fulfill();
    }
  }

 private:
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting_;
};

// Counted, for a task may still read from a file that its chunk has let go.
struct OpenFile final : kj::Refcounted {
  explicit OpenFile(kj::Own<File> file) : file(kj::mv(file)) {}
  kj::Own<File> file;
};

struct Chunk {
  explicit Chunk(ChunkKey key) : key(key) {}

  const ChunkKey key;
  bool loaded = false;  // all below means nothing before

  bool present = false;
  ChunkKind kind = ChunkKind::INLINE;
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  Epoch lastEpoch{};
  uint64_t instance = 0;
  ChunkHints hints;
  std::vector<uint64_t> sums;  // up to the last allocated block
  uint32_t allocatedBlocks = 0;
  std::vector<kj::byte> bytes;  // INLINE: whole blocks, as many as sums
  std::vector<uint32_t> bad;    // sorted
  bool inIndex = false;         // there is a record

  // FILE only.
  kj::Own<OpenFile> file;  // null: not open
  bool settled = false;    // see ChunkRecord
  bool hasBase = false;
  bool recordStale = false;       // the index doesn't know of this file yet
  bool recordUnsynced = false;    // or may lose what it knows
  bool lost = false;              // the file is gone: made again by the next change
  uint64_t headerSequence = 0;    // of the last header written
  unsigned headerSlot = 1;        // where the last *synced* header is: never written to
  bool headerWritten = false;     // the other slot holds a newer one, not synced yet
  bool headerStale = false;       // the file's header lacks a change
  bool dropUnsynced = false;      // bytes were dropped since the last sync, so the header must not yet
  uint32_t headerGeneration = 0;  // say more than this generation: a cut must not look done when it isn't

  // Every change raises `version`; everything up to `syncedVersion` is durable.
  uint64_t version = 0;
  uint64_t syncedVersion = 0;
  bool syncing = false;
  Gate synced;

  TurnQueue turns;
  unsigned pins = 0;  // operations that hold a reference
  std::list<Chunk*>::iterator place;
  size_t countedBytes = 0;

  uint32_t lengthBlocks() const { return static_cast<uint32_t>(sums.size()); }
  uint64_t sum(uint32_t block) const { return block < sums.size() ? sums[block] : 0; }
  uint64_t digest() const { return chunkDigest(generation, kj::arrayPtr(sums.data(), sums.size())); }
  bool isBad(uint32_t block) const;
  ChunkRecord record() const;
  ChunkHeader header(const ClusterId& cluster) const;
  // Forgets what it was; a new chunk of the same name may be made.
  void clear();
};

inline std::string describeChunk(ChunkKey key) {
  return chunkPath(key);
}

}  // namespace cairn
