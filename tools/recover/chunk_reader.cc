#include "tools/recover/chunk_reader.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace cairn::rescue {

ChunkReader::ChunkReader(Archive& archive, const FileView& file, uint32_t chunk, bool deleted)
    : archive_(archive), file_(file), chunk_(chunk) {
  for (auto& located : archive.copiesOf({file.object, chunk}, deleted)) {
    if (located.copy->chunkBits == file.chunkBits) {
      copies_.push_back({located});
    }
  }
  lost_ = copies_.empty() && !archive.isAbsent(file, chunk);
  looksWhole_ = copies_.empty() && !lost_;
  rank();
}

// By epoch; among equals those that are in sync and whose checksums are vouched for come first.
void ChunkReader::rank() {
  auto order = [this](const Copy& copy) {
    const FoundCopy& found = *copy.located.copy;
    bool inSync = archive_.wasInSync(copy.located.disk, found.key.shard);
    return std::make_tuple(!found.doubtful, raw(found.lastEpoch), found.generation, inSync,
                           found.sums == FoundCopy::Sums::CONFIRMED, found.sums != FoundCopy::Sums::DIFFER,
                           found.bad.empty());
  };
  std::stable_sort(copies_.begin(), copies_.end(), [&](auto& a, auto& b) { return order(a) > order(b); });
  mayBeOlder_ = !copies_.empty();
  for (auto& copy : copies_) {
    const FoundCopy& found = *copy.located.copy;
    const FoundCopy& best = *copies_.front().located.copy;
    copy.isNewest = found.lastEpoch == best.lastEpoch && found.generation == best.generation &&
                    found.doubtful == best.doubtful;
    copy.deadFrom = deadFrom(found);
    lengthBlocks_ = std::max(lengthBlocks_, copy.isNewest ? found.lengthBlocks : 0);
    bool inSync = archive_.wasInSync(copy.located.disk, found.key.shard);
    mayBeOlder_ = mayBeOlder_ && !(inSync && !found.doubtful);
    looksWhole_ = looksWhole_ || (copy.isNewest && found.bad.empty() && found.sums != FoundCopy::Sums::DIFFER);
  }
}

uint64_t ChunkReader::deadFrom(const FoundCopy& copy) const {
  uint64_t dead = UINT64_MAX;
  uint64_t begins = uint64_t{chunk_} << file_.chunkBits;
  for (auto& cut : file_.cuts) {
    if (copy.generation < cut.generation) {
      dead = std::min(dead, cut.firstDead > begins ? cut.firstDead - begins : 0);
    }
  }
  return dead;
}

StoredChunk* ChunkReader::opened(Copy& copy) {
  if (copy.chunk.get() == nullptr && !copy.failed) {
    auto volume = archive_.volume(copy.located.disk);
    auto chunk = volume.ok() ? StoredChunk::open(*volume.value(), *copy.located.copy)
                             : Result<kj::Own<StoredChunk>>(volume.error());
    copy.failed = !chunk.ok();
    if (chunk.ok()) {
      copy.chunk = kj::mv(chunk.value());
    }
  }
  return copy.failed ? nullptr : copy.chunk.get();
}

// Whether a newest copy has that checksum for the block.
bool ChunkReader::isWanted(uint64_t sum, uint32_t block) {
  for (auto& copy : copies_) {
    StoredChunk* chunk = copy.isNewest ? opened(copy) : nullptr;
    if (chunk != nullptr && chunk->sum(block) == sum) {
      return true;
    }
  }
  return false;
}

ChunkReader::Block ChunkReader::take(Copy& copy, StoredChunk& chunk, uint32_t block, kj::ArrayPtr<kj::byte> out) {
  uint64_t begins = uint64_t{block} * BLOCK_BYTES;
  if (copy.deadFrom <= begins) {
    memset(out.begin(), 0, out.size());
    return Block::HOLE;
  }
  if (!chunk.readBlock(block, out)) {
    return Block::LOST;
  }
  if (copy.deadFrom < begins + BLOCK_BYTES) {
    size_t alive = copy.deadFrom - begins;
    memset(out.begin() + alive, 0, BLOCK_BYTES - alive);
  }
  return Block::DATA;
}

ChunkReader::Block ChunkReader::read(uint32_t block, kj::ArrayPtr<kj::byte> out) {
  memset(out.begin(), 0, out.size());
  if (copies_.empty()) {
    return lost_ ? Block::LOST : Block::HOLE;
  }
  bool holes = true;  // all of the newest have one
  for (auto& copy : copies_) {
    StoredChunk* chunk = opened(copy);
    if (chunk == nullptr) {
      holes = holes && !copy.isNewest;
      continue;
    }
    uint64_t sum = chunk->sum(block);
    if (copy.isNewest && sum == 0) {
      if (copy.located.copy->sums == FoundCopy::Sums::CONFIRMED) {
        return Block::HOLE;
      }
      holes = holes && copy.located.copy->sums != FoundCopy::Sums::DIFFER;
      continue;
    }
    bool counts = copy.isNewest || (sum != 0 && sum != LOST_SUM && isWanted(sum, block));
    holes = holes && !copy.isNewest;
    Block taken = counts ? take(copy, *chunk, block, out) : Block::LOST;
    if (taken != Block::LOST) {
      return taken;
    }
  }
  memset(out.begin(), 0, out.size());
  return holes ? Block::HOLE : Block::LOST;
}

}  // namespace cairn::rescue
