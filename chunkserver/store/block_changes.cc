#include "chunkserver/store/block_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "chunkserver/store/chunk_format.h"
#include "common/checksum.h"

namespace cairn {

void BlockChanges::addOwned(uint32_t block, kj::Array<kj::byte> bytes, uint64_t sum) {
  auto one = kj::heap<Owned>();
  one->bytes = kj::mv(bytes);
  one->sum = sum;
  runs.push_back(BlockRun{block, one->bytes, kj::arrayPtr(&one->sum, 1)});
  owned.push_back(kj::mv(one));
}

uint32_t BlockChanges::endBlock() const {
  uint32_t end = 0;
  for (auto& run : runs) {
    end = std::max(end, run.first + run.count());
  }
  return end;
}

Result<WritePlan> WritePlan::make(uint8_t chunkBits, kj::ArrayPtr<const WritePiece> pieces) {
  if (pieces.size() > PIECES_MAX) {
    return Error{EINVAL, fmt::format("{} pieces in one write, at most {} are taken", pieces.size(), PIECES_MAX)};
  }
  WritePlan plan;
  uint64_t chunkBytes = 1ull << chunkBits;
  for (auto& piece : pieces) {
    if (piece.offset + piece.bytes.size() > chunkBytes) {
      return Error{EINVAL, fmt::format("write of {} bytes at {} in a chunk of {}", piece.bytes.size(), piece.offset,
                                       chunkBytes)};
    }
    auto status = plan.add(piece);
    if (!status.ok()) {
      return status.error();
    }
  }
  return kj::mv(plan);
}

Status WritePlan::add(const WritePiece& piece) {
  if (piece.bytes.size() == 0) {
    return {};
  }
  uint32_t first = piece.offset / BLOCK_BYTES;
  uint32_t end = static_cast<uint32_t>((piece.offset + piece.bytes.size() + BLOCK_BYTES - 1) / BLOCK_BYTES);
  if (piece.sums.size() != end - first) {
    return Error{EINVAL, fmt::format("{} checksums for {} blocks", piece.sums.size(), end - first)};
  }
  BlockRun run;
  for (uint32_t block = first; block < end; block++) {
    uint64_t from = std::max<uint64_t>(piece.offset, uint64_t{block} * BLOCK_BYTES);
    uint64_t to = std::min<uint64_t>(piece.offset + piece.bytes.size(), uint64_t{block + 1} * BLOCK_BYTES);
    auto bytes = piece.bytes.slice(from - piece.offset, to - piece.offset);
    uint64_t sum = piece.sums[block - first];
    if (blockChecksum(bytes) != sum) {
      return Error{EBADMSG, fmt::format("bytes [{}, {}) don't match the checksum they came with", from, to)};
    }
    if (bytes.size() == BLOCK_BYTES) {
      overlays_.erase(block);
      run.first = run.count() == 0 ? block : run.first;
      run.bytes = kj::arrayPtr(run.count() == 0 ? bytes.begin() : run.bytes.begin(), bytes.end());
      run.sums = piece.sums.slice(run.first - first, block + 1 - first);
    } else {
      addPart(block, Patch{static_cast<uint32_t>(from % BLOCK_BYTES), bytes, sum});
    }
  }
  if (run.count() > 0) {
    runs_.push_back(run);
  }
  endBlock_ = std::max(endBlock_, end);
  return {};
}

void WritePlan::addPart(uint32_t block, Patch patch) {
  auto [place, added] = overlays_.try_emplace(block);
  if (added) {
    place->second.base = earlier(block);
  }
  place->second.patches.push_back(patch);
}

kj::ArrayPtr<const kj::byte> WritePlan::earlier(uint32_t block) const {
  for (auto run = runs_.rbegin(); run != runs_.rend(); ++run) {
    if (block >= run->first && block < run->first + run->count()) {
      size_t offset = (block - run->first) * size_t{BLOCK_BYTES};
      return run->bytes.slice(offset, offset + BLOCK_BYTES);
    }
  }
  return nullptr;
}

Result<WritePlan> WritePlan::makePunch(uint8_t chunkBits, uint32_t offset, uint32_t length) {
  uint64_t end = uint64_t{offset} + length;
  if (end > (1ull << chunkBits)) {
    return Error{EINVAL, fmt::format("punch of {} bytes at {} in a chunk of {}", length, offset, 1ull << chunkBits)};
  }
  WritePlan plan;
  uint64_t wholeFrom = (uint64_t{offset} + BLOCK_BYTES - 1) / BLOCK_BYTES;
  uint64_t wholeEnd = end / BLOCK_BYTES;
  if (wholeFrom < wholeEnd) {
    plan.holes_.push_back(BlockHole{static_cast<uint32_t>(wholeFrom), static_cast<uint32_t>(wholeEnd - wholeFrom)});
  }
  for (uint64_t at = offset; at < end;) {
    uint64_t block = at / BLOCK_BYTES;
    uint64_t to = std::min(end, (block + 1) * BLOCK_BYTES);
    if (to - at < BLOCK_BYTES) {
      BlockHole zeros{static_cast<uint32_t>(at % BLOCK_BYTES), static_cast<uint32_t>(to - at)};
      plan.overlays_[static_cast<uint32_t>(block)].zeros.push_back(zeros);
      at = to;
    } else {
      at = std::max(to, wholeEnd * BLOCK_BYTES);
    }
  }
  return kj::mv(plan);
}

std::vector<uint32_t> WritePlan::partial() const {
  std::vector<uint32_t> blocks;
  for (auto& [block, overlay] : overlays_) {
    if (overlay.base.size() == 0) {
      blocks.push_back(block);
    }
  }
  return blocks;
}

BlockChanges WritePlan::finish(OldBlocks old) && {
  BlockChanges changes;
  changes.runs = std::move(runs_);
  changes.holes = std::move(holes_);
  for (auto& [block, overlay] : overlays_) {
    auto stored = old.find(block);
    bool hole = overlay.base.size() == 0 && stored == old.end();
    if (hole && overlay.patches.empty()) {
      continue;
    }
    auto bytes =
        stored != old.end() && overlay.base.size() == 0 ? kj::mv(stored->second) : kj::heapArray<kj::byte>(BLOCK_BYTES);
    if (hole) {
      memset(bytes.begin(), 0, BLOCK_BYTES);
    } else if (overlay.base.size() > 0) {
      memcpy(bytes.begin(), overlay.base.begin(), BLOCK_BYTES);
    }
    for (auto& patch : overlay.patches) {
      memcpy(bytes.begin() + patch.offset, patch.bytes.begin(), patch.bytes.size());
    }
    for (auto& zeros : overlay.zeros) {
      memset(bytes.begin() + zeros.first, 0, zeros.count);
    }
    // A short block is summed as if padded with zeros, so the client's checksum may be the block's.
    bool clients = hole && overlay.patches.size() == 1 && overlay.patches[0].offset == 0;
    uint64_t sum = clients ? overlay.patches[0].sum : blockChecksum(bytes);
    changes.addOwned(block, kj::mv(bytes), sum);
  }
  return changes;
}

}  // namespace cairn
