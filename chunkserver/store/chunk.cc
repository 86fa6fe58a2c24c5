#include "chunkserver/store/chunk.h"

#include <algorithm>

namespace cairn {

TurnQueue::Turn::Turn(TurnQueue& queue) : queue_(queue) {
  mine_ = queue_.queue_.empty();
  queue_.queue_.push_back(this);
}

kj::Promise<void> TurnQueue::Turn::come() {
  KJ_REQUIRE(!mine_);
  auto pair = kj::newPromiseAndFulfiller<void>();
  fulfiller_ = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

TurnQueue::Turn::~Turn() noexcept(false) {
  auto& queue = queue_.queue_;
  queue.erase(std::find(queue.begin(), queue.end(), this));
  if (mine_ && !queue.empty()) {
    Turn* next = queue.front();
    next->mine_ = true;
    if (next->fulfiller_.get() != nullptr) {
      next->fulfiller_->fulfill();
    }
  }
}

bool Chunk::isBad(uint32_t block) const {
  return std::binary_search(bad.begin(), bad.end(), block);
}

ChunkRecord Chunk::record() const {
  ChunkRecord out;
  out.kind = kind;
  out.chunkBits = chunkBits;
  out.settled = settled;
  out.hasBase = hasBase;
  out.generation = generation;
  out.lastEpoch = lastEpoch;
  out.instance = instance;
  out.lengthBlocks = lengthBlocks();
  out.allocatedBlocks = allocatedBlocks;
  out.digest = digest();
  out.bad = bad;
  return out;
}

ChunkHeader Chunk::header(const ClusterId& cluster) const {
  ChunkHeader out;
  out.sequence = headerSequence;
  out.instance = instance;
  out.cluster = cluster;
  out.key = key;
  out.chunkBits = chunkBits;
  out.generation = kind == ChunkKind::FILE ? headerGeneration : generation;
  out.lengthBytes = lengthBlocks() * BLOCK_BYTES;
  out.lastEpoch = lastEpoch;
  out.hints = hints;
  return out;
}

void Chunk::clear() {
  present = false;
  kind = ChunkKind::INLINE;
  generation = 0;
  lastEpoch = Epoch{};
  instance = 0;
  hints = ChunkHints();
  sums.clear();
  allocatedBlocks = 0;
  bytes = std::vector<kj::byte>();
  bad.clear();
  file = nullptr;
  inIndex = settled = hasBase = recordStale = recordUnsynced = lost = headerWritten = headerStale = dropUnsynced =
      false;
  headerSequence = 0;
  headerSlot = 1;
  headerGeneration = 0;
}

}  // namespace cairn
