#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "chunkserver/store/volume.h"
#include "common/checksum.h"

namespace cairn {

// What of the chunk a read gives: blocks [first, first + count), dead bytes from `dead` on.
struct Volume::ReadPlan {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t dead = 0;
  bool cutInside = false;  // the last block has dead bytes
};

namespace {

Status checkRange(const ChunkContext& context, uint32_t offset, uint32_t length) {
  bool sane = context.chunkBits >= CHUNK_BITS_MIN && context.chunkBits <= CHUNK_BITS_MAX && offset % BLOCK_BYTES == 0 &&
              length % BLOCK_BYTES == 0 && uint64_t{offset} + length <= (1ull << context.chunkBits);
  if (!sane) {
    return Error{EINVAL, fmt::format("read of {} bytes at {} in a chunk of 2^{}", length, offset, context.chunkBits)};
  }
  return {};
}

}  // namespace

Volume::ReadPlan Volume::planRead(const Chunk& chunk, const ChunkContext& context, uint32_t offset,
                                  uint32_t length) const {
  ReadPlan plan;
  plan.first = offset / BLOCK_BYTES;
  plan.dead = deadFrom(chunk, context.cuts);
  uint32_t end = std::min((plan.dead + BLOCK_BYTES - 1) / BLOCK_BYTES, plan.first + length / BLOCK_BYTES);
  while (end > plan.first && chunk.sum(end - 1) == 0) {
    end--;
  }
  plan.count = end > plan.first ? end - plan.first : 0;
  plan.cutInside = plan.count > 0 && plan.dead < end * BLOCK_BYTES;
  return plan;
}

Task<Result<void>> Volume::read(ChunkId id, const ChunkContext& context, uint32_t offset, uint32_t length,
                                ReadTarget& target) {
  auto status = checkRange(context, offset, length);
  if (!status.ok()) {
    co_return status;
  }
  Pinned chunk(*this, ChunkKey{context.shard, id});
  status = health_;
  if (!chunk->loaded && status.ok()) {
    auto loaded = co_await loadInTurn(*chunk);
    status = loaded;
  }
  if (!status.ok()) {
    co_return status;
  }
  if (chunk->present && chunk->chunkBits != context.chunkBits) {
    co_return Error{EINVAL, fmt::format("{} is of 2^{} bytes, not 2^{}", describeChunk(chunk->key), chunk->chunkBits,
                                        context.chunkBits)};
  }
  ReadPlan plan = planRead(*chunk, context, offset, length);
  auto out = target.bytes(size_t{plan.count} * BLOCK_BYTES);
  status = readWarm(*chunk, plan, out);
  if (status.code() == EAGAIN) {
    co_return co_await readCold(*chunk, plan, context, out, target);
  }
  if (status.ok()) {
    status = finishRead(*chunk, plan, out, target);
  }
  co_return status;
}

Status Volume::readWarm(Chunk& chunk, const ReadPlan& plan, kj::ArrayPtr<kj::byte> out) {
  if (plan.count == 0) {
    return {};
  }
  if (chunk.kind == ChunkKind::INLINE || chunk.lost) {
    copyBlocks(chunk, plan.first, out);
    return {};
  }
  uint64_t offset = blockOffset(chunk.chunkBits, plan.first);
  auto got = chunk.file->file->readCached(offset, out);
  if (!got.ok()) {
    bool cold = got.code() == EAGAIN || got.code() == EIO;
    return cold ? Status(Error{EAGAIN, got.error().why}) : fail(got.error());
  }
  memset(out.begin() + got.value(), 0, out.size() - got.value());
  return {};
}

// The chunk may change while the device reads: then bytes and checksums would be of different times.
Task<Status> Volume::readCold(Chunk& chunk, ReadPlan plan, const ChunkContext& context, kj::ArrayPtr<kj::byte> out,
                              ReadTarget& target) {
  for (unsigned tries = 0;; tries++) {
    std::optional<TurnQueue::Turn> turn;
    if (tries >= READ_TRIES) {
      turn.emplace(chunk.turns);
      if (!turn->mine()) {
        co_await turn->come();
      }
    }
    uint64_t version = chunk.version;
    bool device = chunk.present && chunk.kind == ChunkKind::FILE && !chunk.lost;
    if (device) {
      auto file = kj::addRef(*chunk.file);
      uint64_t offset = blockOffset(chunk.chunkBits, plan.first);
      Nanos began = clock_.monotonic();
      auto got = co_await file->file->read(offset, out);
      gauge_.read(clock_.monotonic() - began, out.size(), clock_.monotonic());
      if (got.code() == EIO) {
        auto noted = noteUnreadable(chunk, got.error());
        co_return noted.ok() ? Status(Error{EUCLEAN, got.error().why}) : noted;
      }
      if (!got.ok()) {
        co_return fail(got.error());
      }
      memset(out.begin() + got.value(), 0, out.size() - got.value());
    }
    if (!device || version == chunk.version) {
      // What was handed out is as long as it was: a chunk that shrank meanwhile has holes there now.
      plan.dead = deadFrom(chunk, context.cuts);
      plan.cutInside = plan.dead < (plan.first + plan.count) * BLOCK_BYTES;
      if (!device) {
        copyBlocks(chunk, plan.first, out);
      }
      co_return finishRead(chunk, plan, out, target);
    }
  }
}

// Of a small chunk; zeros after its end. Of a chunk that has no file: zeros.
void Volume::copyBlocks(const Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out) const {
  size_t from = std::min(size_t{first} * BLOCK_BYTES, chunk.bytes.size());
  size_t size = std::min(out.size(), chunk.bytes.size() - from);
  std::copy_n(chunk.bytes.begin() + static_cast<ptrdiff_t>(from), size, out.begin());
  std::fill(out.begin() + size, out.end(), kj::byte{0});
}

// Checksums, zeros for holes and dead bytes.
Status Volume::finishRead(Chunk& chunk, const ReadPlan& plan, kj::ArrayPtr<kj::byte> out, ReadTarget& target) {
  auto sums = kj::heapArray<uint64_t>(plan.count);
  for (uint32_t i = 0; i < plan.count; i++) {
    uint32_t block = plan.first + i;
    uint64_t start = uint64_t{block} * BLOCK_BYTES;
    auto bytes = out.slice(i * size_t{BLOCK_BYTES}, (i + 1) * size_t{BLOCK_BYTES});
    sums[i] = start < plan.dead || !plan.cutInside ? chunk.sum(block) : 0;
    if (sums[i] == 0) {
      memset(bytes.begin(), 0, BLOCK_BYTES);
    } else if (plan.cutInside && plan.dead < start + BLOCK_BYTES) {
      // The reader can't check bytes that aren't all given to it, so the block is checked here. One that is
      // bad keeps its checksum, which it still won't match.
      if (blockChecksum(bytes) == sums[i] && !chunk.isBad(block)) {
        memset(bytes.begin() + (plan.dead - start), 0, start + BLOCK_BYTES - plan.dead);
        sums[i] = blockChecksum(bytes);
      }
    }
  }
  target.sums(sums);
  return {};
}

Task<Result<std::vector<bool>>> Volume::allocated(ChunkId id, const ChunkContext& context) {
  Pinned chunk(*this, ChunkKey{context.shard, id});
  Status status = health_;
  if (!chunk->loaded && status.ok()) {
    auto loaded = co_await loadInTurn(*chunk);
    status = loaded;
  }
  if (!status.ok()) {
    co_return status.error();
  }
  uint32_t end = (deadFrom(*chunk, context.cuts) + BLOCK_BYTES - 1) / BLOCK_BYTES;
  while (end > 0 && chunk->sum(end - 1) == 0) {
    end--;
  }
  std::vector<bool> blocks(end);
  for (uint32_t block = 0; block < end; block++) {
    blocks[block] = chunk->sum(block) != 0;
  }
  co_return kj::mv(blocks);
}

}  // namespace cairn
