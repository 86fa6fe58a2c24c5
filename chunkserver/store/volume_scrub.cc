#include <algorithm>
#include <cerrno>
#include <numeric>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

Task<Result<ScrubPart>> Volume::scrub(ChunkKey key, uint32_t first, uint32_t count) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  ScrubPart out;
  out.present = chunk->present;
  auto* mark = dirty_.find(key);
  out.skipped = chunk->present && mark != nullptr && (mark->unchecked || !mark->torn.empty());
  if (!chunk->present || out.skipped) {
    co_return kj::mv(out);
  }
  if (first == 0) {
    auto mended = co_await mendFront(*chunk);
    if (!mended.ok()) {
      co_return mended.error();
    }
    out.frontMended = mended.value();
  }
  uint32_t end = std::min<uint64_t>(uint64_t{first} + count, chunk->lengthBlocks());
  if (first < end) {
    std::vector<uint32_t> looked(end - first);
    std::iota(looked.begin(), looked.end(), first);
    auto wrong = co_await findMismatches(*chunk, looked, From::DEVICE);
    if (!wrong.ok()) {
      co_return wrong.error();
    }
    auto recorded = co_await recordMismatches(*chunk, looked, wrong.value(), true);
    if (!recorded.ok()) {
      co_return recorded.error();
    }
    out.blocksRead = end - first;
  }
  out.lengthBlocks = chunk->lengthBlocks();
  out.badBlocks = static_cast<uint32_t>(chunk->bad.size());
  out.hints = chunk->hints;
  co_return kj::mv(out);
}

// Header and checksum area on the device against those in memory, which were found whole when the chunk was loaded or
// were made here. Only what is known is written again; a chunk that was loaded damaged has its bad blocks already.
Task<Result<bool>> Volume::mendFront(Chunk& chunk) {
  if (chunk.kind != ChunkKind::FILE || chunk.lost) {
    co_return false;
  }
  auto file = kj::addRef(*chunk.file);
  auto front = kj::heapArray<kj::byte>(dataOffset(chunk.chunkBits));
  auto got = co_await file->file->readDevice(0, front);
  if (!got.ok() && got.code() != EIO) {
    co_return fail(got.error()).error();
  }
  bool whole = !chunk.headerStale || chunk.version != chunk.syncedVersion;  // a stale one is written at the next sync
  if (got.ok()) {
    memset(front.begin() + got.value(), 0, front.size() - got.value());
    auto header = findHeader(front.slice(0, CHUNK_HEADER_BYTES));
    whole = whole && header.ok() && header.value().header.instance == chunk.instance &&
            header.value().header.sequence == chunk.headerSequence;
    auto sums = decodeSums(front.slice(CHUNK_HEADER_BYTES, CHUNK_HEADER_BYTES + blocksOf(chunk.chunkBits) * 8));
    trimSums(sums);
    whole = whole && sums == chunk.sums;
  }
  if (got.ok() && whole) {
    co_return false;
  }
  auto noted = got.ok() ? Status() : noteUnreadable(chunk, got.error());
  if (!noted.ok()) {
    co_return noted.error();
  }
  spdlog::error("{}: its header or checksum area was damaged on the disk; written again", describeChunk(chunk.key));
  auto written = rewriteFront(chunk);
  if (!written.ok()) {
    co_return written.error();
  }
  auto synced = co_await syncChunk(chunk);
  if (!synced.ok()) {
    co_return synced.error();
  }
  co_return true;
}

Status Volume::rewriteFront(Chunk& chunk) {
  auto written = writeSums(chunk, 0, blocksOf(chunk.chunkBits));
  if (!written.ok()) {
    return fail(written.error());
  }
  chunk.headerStale = true;
  chunk.version++;
  return {};
}

// Of `blocks`, which are known as bad and match in the page cache now: those that stay bad. Rot that the scrub has
// found under the cache is there still when the cache is asked; but what the cache has matches, so it is written
// again. REQUIRES: the turn.
Task<Result<std::vector<uint32_t>>> Volume::badUnderCache(Chunk& chunk, std::vector<uint32_t> blocks) {
  std::vector<uint32_t> out;
  if (chunk.kind != ChunkKind::FILE || chunk.lost) {
    co_return kj::mv(out);
  }
  bool rewritten = false;
  auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
  for (uint32_t block : blocks) {
    auto read = co_await readBlocks(chunk, block, bytes, From::DEVICE);
    if (!read.ok()) {
      co_return read.error();
    }
    if (chunk.sum(block) == 0 || blockChecksum(bytes) == chunk.sum(block)) {
      continue;
    }
    auto mended = co_await rewriteFromCache(chunk, block);
    if (!mended.ok()) {
      co_return mended.error();
    }
    rewritten = rewritten || mended.value();
    if (!mended.value()) {
      out.push_back(block);
    }
  }
  if (rewritten) {
    auto synced = co_await syncChunk(chunk);
    if (!synced.ok()) {
      co_return synced.error();
    }
  }
  co_return kj::mv(out);
}

// False: it doesn't match there any more.
Task<Result<bool>> Volume::rewriteFromCache(Chunk& chunk, uint32_t block) {
  auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
  auto read = co_await readBlocks(chunk, block, bytes, From::CACHE);
  if (!read.ok()) {
    co_return read.error();
  }
  if (blockChecksum(bytes) != chunk.sum(block)) {
    co_return false;
  }
  auto written = chunk.file->file->write(blockOffset(chunk.chunkBits, block), bytes);
  if (!written.ok()) {
    co_return fail(written.error()).error();
  }
  spdlog::warn("{}: block {}: the disk has lost what the page cache still has; written again", describeChunk(chunk.key),
               block);
  counters_.mendedBlocks++;
  chunk.version++;
  co_return true;
}

Task<Result<std::string>> Volume::scrubIndex(std::string from) {
  co_return co_await index_->verify(kj::mv(from));
}

std::string Volume::note(const std::string& name) {
  auto found = index_->get(metaKey("note." + name));
  return found.ok() && found.value() ? *found.value() : "";
}

void Volume::setNote(const std::string& name, std::string value) {
  index_->put(metaKey("note." + name), kj::mv(value));
}

}  // namespace cairn
