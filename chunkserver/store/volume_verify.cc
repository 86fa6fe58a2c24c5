#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "chunkserver/store/volume.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

namespace {

std::vector<uint32_t> without(const std::vector<uint32_t>& blocks, const std::vector<uint32_t>& taken) {
  std::vector<uint32_t> out;
  std::set_difference(blocks.begin(), blocks.end(), taken.begin(), taken.end(), std::back_inserter(out));
  return out;
}

std::vector<uint32_t> both(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  std::vector<uint32_t> out;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

std::vector<uint32_t> merged(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  std::vector<uint32_t> out;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

}  // namespace

// Blocks from `first` on, as stored, zeros after the file's end and where the device can't read; how many of these
// there are. A block of zeros that can't be read matches its checksum: then that is what it is. REQUIRES: the turn.
Task<Result<uint32_t>> Volume::readBlocks(Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out, From from) {
  if (chunk.kind == ChunkKind::INLINE || chunk.lost) {
    copyBlocks(chunk, first, out);
    co_return 0u;
  }
  auto file = kj::addRef(*chunk.file);
  uint64_t offset = blockOffset(chunk.chunkBits, first);
  Nanos began = clock_.monotonic();
  auto reading = from == From::DEVICE ? file->file->readDevice(offset, out) : file->file->read(offset, out);
  auto got = co_await kj::mv(reading);
  if (from == From::DEVICE) {
    gauge_.read(clock_.monotonic() - began, out.size(), clock_.monotonic());
  }
  if (got.code() == EIO && out.size() > BLOCK_BYTES) {
    co_return co_await readEach(chunk, first, out, from);
  }
  if (got.code() == EIO) {
    auto noted = noteUnreadable(chunk, got.error());
    if (!noted.ok()) {
      co_return noted.error();
    }
    memset(out.begin(), 0, out.size());
    co_return 1u;
  }
  if (!got.ok()) {
    co_return fail(got.error()).error();
  }
  memset(out.begin() + got.value(), 0, out.size() - got.value());
  co_return 0u;
}

// One by one, for the device gives an error for all when it can't read one.
Task<Result<uint32_t>> Volume::readEach(Chunk& chunk, uint32_t first, kj::ArrayPtr<kj::byte> out, From from) {
  uint32_t lost = 0;
  for (uint32_t i = 0; i < out.size() / BLOCK_BYTES; i++) {
    auto block = out.slice(i * size_t{BLOCK_BYTES}, (i + 1) * size_t{BLOCK_BYTES});
    auto read = co_await readBlocks(chunk, first + i, block, from);
    if (!read.ok()) {
      co_return read.error();
    }
    lost += read.value();
  }
  co_return lost;
}

// An error of the device on a read is a bad block. A disk that gives many of them is dying.
Status Volume::noteUnreadable(const Chunk& chunk, const Error& error) {
  counters_.unreadableBlocks++;
  if (unreadable_.insert(chunk.key).second) {
    spdlog::error("{}: {}", describeChunk(chunk.key), error.why);
  }
  if (unreadable_.size() < UNREADABLE_CHUNKS_MAX) {
    return {};
  }
  return fail(Error{EIO, fmt::format("{}: {} chunks have had blocks that can't be read, the last one: {}",
                                     disk_.hostPath("."), unreadable_.size(), error.why)});
}

// After an unclean stop bytes may stand under holes: a punch whose checksums reached the disk and whose freeing
// did not. They have to go, durably, before the block is written again: a torn write would show them.
Task<Status> Volume::emptyHoles(Chunk& chunk) {
  auto* mark = dirty_.find(chunk.key);
  if (mark == nullptr || !mark->unchecked || chunk.kind == ChunkKind::INLINE || chunk.lost) {
    co_return Status();
  }
  for (uint32_t block = 0; block < chunk.lengthBlocks();) {
    uint32_t from = block;
    while (block < chunk.lengthBlocks() && chunk.sum(block) == 0) {
      block++;
    }
    uint64_t bytes = uint64_t{BLOCK_BYTES} * (block - from);
    auto punched = chunk.file->file->punch(blockOffset(chunk.chunkBits, from), bytes);
    if (!punched.ok()) {
      co_return fail(punched.error());
    }
    block += from == block ? 1 : 0;
  }
  auto ended = chunk.file->file->truncate(blockOffset(chunk.chunkBits, chunk.lengthBlocks()));
  if (!ended.ok()) {
    co_return fail(ended.error());
  }
  chunk.version++;
  co_return co_await syncChunk(chunk);
}

// Which of `blocks` (sorted; empty: all) don't match. REQUIRES: the turn.
Task<Result<std::vector<uint32_t>>> Volume::findMismatches(Chunk& chunk, std::vector<uint32_t> blocks,
                                                            From source) {
  std::vector<uint32_t> wrong;
  constexpr uint32_t AT_ONCE = VERIFY_BYTES / BLOCK_BYTES;
  auto bytes = kj::heapArray<kj::byte>(VERIFY_BYTES);
  for (uint32_t first = 0; first < chunk.lengthBlocks(); first += AT_ONCE) {
    uint32_t count = std::min(AT_ONCE, chunk.lengthBlocks() - first);
    auto from = std::lower_bound(blocks.begin(), blocks.end(), first);
    if (!blocks.empty() && (from == blocks.end() || *from >= first + count)) {
      continue;
    }
    auto part = bytes.slice(0, size_t{count} * BLOCK_BYTES);
    auto read = co_await readBlocks(chunk, first, part, source);
    if (!read.ok()) {
      co_return read.error();
    }
    for (uint32_t i = 0; i < count; i++) {
      bool asked = blocks.empty() || std::binary_search(blocks.begin(), blocks.end(), first + i);
      uint64_t sum = chunk.sum(first + i);
      auto block = part.slice(i * size_t{BLOCK_BYTES}, (i + 1) * size_t{BLOCK_BYTES});
      if (asked && sum != 0 && (chunk.lost || blockChecksum(block) != sum)) {
        wrong.push_back(first + i);
      }
    }
  }
  co_return kj::mv(wrong);
}

// Remembers what a look at `looked` blocks (empty: at all) has found. Torn is what doesn't match in a chunk that
// an unclean stop left dirty and that nobody has looked through since; all else is bad, and with `final` that too.
Task<Status> Volume::recordMismatches(Chunk& chunk, std::vector<uint32_t> looked, std::vector<uint32_t> wrong,
                                      bool final) {
  KJ_REQUIRE(final || looked.empty());
  bool all = looked.empty();
  std::vector<uint32_t> known = all ? chunk.bad : both(chunk.bad, looked);
  std::vector<uint32_t> nowWhole = without(known, wrong);
  auto stillBad = co_await badUnderCache(chunk, kj::mv(nowWhole));
  if (!stillBad.ok()) {
    co_return stillBad.error();
  }
  wrong = merged(wrong, stillBad.value());
  std::vector<uint32_t> torn;
  if (auto* mark = dirty_.find(chunk.key)) {
    if (final) {
      torn = without(mark->torn, all ? mark->torn : looked);
    } else {
      torn = mark->unchecked ? without(wrong, chunk.bad) : both(wrong, mark->torn);
    }
    mark->torn = torn;
    mark->unchecked = mark->unchecked && !all;
  }
  std::vector<uint32_t> before = chunk.bad;
  // Bad by an older finding, and whole again: a write that a crash kept out of the record.
  chunk.bad = all ? both(chunk.bad, wrong) : without(chunk.bad, without(looked, wrong));
  for (uint32_t block : without(wrong, torn)) {
    addBad(chunk, block);
  }
  if (chunk.bad == before) {
    co_return Status();
  }
  spdlog::error("{}: {} blocks don't match their checksums", describeChunk(chunk.key), chunk.bad.size());
  putBad(chunk);
  co_return co_await index_->commit();
}

void Volume::putBad(Chunk& chunk) {
  putRecord(chunk);
  auto key = indexKey(KeySpace::BAD, chunk.key);
  if (chunk.bad.empty()) {
    if (badBlocks_.erase(chunk.key) > 0) {
      index_->erase(key);
    }
    return;
  }
  badBlocks_[chunk.key] = static_cast<uint32_t>(chunk.bad.size());
  index_->put(key, encodeIndexNumber(chunk.bad.size()));
}

ChunkSummary Volume::summarize(const Chunk& chunk) const {
  ChunkSummary out;
  out.chunk = chunk.key.chunk;
  out.present = chunk.present;
  if (chunk.present) {
    out.digest = chunk.digest();
    out.lastEpoch = chunk.lastEpoch;
    out.dirty = dirty_.find(chunk.key) != nullptr;
    out.chunkBits = chunk.chunkBits;
    out.generation = chunk.generation;
    out.lengthBytes = chunk.lengthBlocks() * BLOCK_BYTES;
    out.allocatedBytes = chunk.allocatedBlocks * BLOCK_BYTES;
  }
  return out;
}

ChunkDescription Volume::description(const Chunk& chunk) const {
  ChunkDescription out;
  static_cast<ChunkSummary&>(out) = summarize(chunk);
  auto* mark = dirty_.find(chunk.key);
  out.hints = chunk.hints;
  out.sums = chunk.sums;
  out.bad = chunk.bad;
  if (mark != nullptr) {
    out.torn = mark->torn;
  }
  return out;
}

Task<Result<ChunkSummary>> Volume::summary(ChunkKey key) {
  Pinned chunk(*this, key);
  if (!chunk->loaded) {
    auto loaded = co_await loadInTurn(*chunk);
    if (!loaded.ok()) {
      co_return loaded.error();
    }
  }
  co_return summarize(*chunk);
}

// Waits for the turn, then for the chunk to be in memory.
Task<Status> Volume::comeLoaded(Chunk& chunk, TurnQueue::Turn& turn) {
  if (!turn.mine()) {
    co_await turn.come();
  }
  Status status = health_;
  if (status.ok() && !chunk.loaded && !loadWarm(chunk, status)) {
    auto loaded = co_await loadCold(chunk);
    status = loaded;
  }
  co_return status;
}

Task<Result<ChunkDescription>> Volume::describe(ChunkKey key) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  std::vector<uint32_t> all;
  if (chunk->present) {
    auto emptied = co_await emptyHoles(*chunk);
    if (!emptied.ok()) {
      co_return emptied.error();
    }
    auto wrong = co_await findMismatches(*chunk, all, From::CACHE);
    if (!wrong.ok()) {
      co_return wrong.error();
    }
    auto recorded = co_await recordMismatches(*chunk, all, wrong.value(), false);
    if (!recorded.ok()) {
      co_return recorded.error();
    }
  }
  co_return description(*chunk);
}

Task<Result<ChunkDescription>> Volume::image(ChunkKey key, ReadTarget& target) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  if (!chunk->present) {
    co_return Error{ENOENT, describeChunk(key) + ": not here"};
  }
  auto emptied = co_await emptyHoles(*chunk);
  if (!emptied.ok()) {
    co_return emptied.error();
  }
  auto out = target.bytes(size_t{chunk->allocatedBlocks} * BLOCK_BYTES);
  auto wrong = co_await readImage(*chunk, out);
  if (!wrong.ok()) {
    co_return wrong.error();
  }
  std::vector<uint32_t> all;
  auto recorded = co_await recordMismatches(*chunk, all, wrong.value(), false);
  if (!recorded.ok()) {
    co_return recorded.error();
  }
  target.sums(kj::arrayPtr(chunk->sums.data(), chunk->sums.size()));
  co_return description(*chunk);
}

// The allocated blocks, one after another. Returns those that don't match.
Task<Result<std::vector<uint32_t>>> Volume::readImage(Chunk& chunk, kj::ArrayPtr<kj::byte> out) {
  constexpr uint32_t AT_ONCE = VERIFY_BYTES / BLOCK_BYTES;
  std::vector<uint32_t> wrong;
  size_t used = 0;
  for (uint32_t block = 0; block < chunk.lengthBlocks();) {
    uint32_t from = block;
    while (block < chunk.lengthBlocks() && chunk.sum(block) != 0 && block - from < AT_ONCE) {
      block++;
    }
    if (block == from) {
      block++;
      continue;
    }
    auto part = out.slice(used, used + size_t{block - from} * BLOCK_BYTES);
    auto read = co_await readBlocks(chunk, from, part, From::CACHE);
    if (!read.ok()) {
      co_return read.error();
    }
    for (uint32_t i = from; i < block; i++, used += BLOCK_BYTES) {
      if (chunk.lost || blockChecksum(out.slice(used, used + BLOCK_BYTES)) != chunk.sum(i)) {
        wrong.push_back(i);
      }
    }
  }
  co_return kj::mv(wrong);
}

Task<Result<std::vector<uint32_t>>> Volume::verifyBlocks(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks) {
  std::vector<uint32_t> asked(blocks.begin(), blocks.end());
  std::sort(asked.begin(), asked.end());
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  std::vector<uint32_t> found;
  if (chunk->present) {
    auto wrong = co_await findMismatches(*chunk, asked, From::CACHE);
    if (!wrong.ok()) {
      co_return wrong.error();
    }
    found = wrong.value();
    auto recorded = co_await recordMismatches(*chunk, asked, found, true);
    if (!recorded.ok()) {
      co_return recorded.error();
    }
  }
  co_return kj::mv(found);
}

Task<Result<Mutated>> Volume::adopt(ChunkKey key, kj::ArrayPtr<const uint32_t> blocks, Epoch epoch) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  auto ready = co_await makeReady(*chunk, epoch);
  if (!ready.ok()) {
    co_return ready.error();
  }
  if (!chunk->present) {
    co_return Error{ENOENT, describeChunk(key) + ": not here"};
  }
  BlockChanges changes;
  for (uint32_t block : blocks) {
    if (chunk->sum(block) == 0) {
      continue;
    }
    auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
    auto read = co_await readBlocks(*chunk, block, bytes, From::CACHE);
    if (!read.ok()) {
      co_return read.error();
    }
    if (read.value() > 0) {
      co_return Error{EUCLEAN, fmt::format("{}: block {} can't be read", describeChunk(key), block)};
    }
    uint64_t sum = blockChecksum(bytes);
    if (sum != chunk->sum(block) || chunk->lost) {
      spdlog::warn("{}: block {}: no member has bytes that match; adopting the ones that are here", describeChunk(key),
                   block);
      changes.addOwned(block, kj::mv(bytes), sum);
      counters_.adoptedBlocks++;
    }
  }
  uint32_t blocksBefore = chunk->allocatedBlocks;
  auto status = commitChanges(*chunk, kj::mv(changes));
  if (!status.ok()) {
    co_return status.error();
  }
  changed(*chunk, epoch);
  co_return settleAllocation(*chunk, blocksBefore);
}

Task<Status> Volume::recheck() {
  for (ChunkKey key : dirty_.unchecked()) {
    auto* mark = dirty_.find(key);
    if (mark == nullptr || !mark->unchecked) {
      continue;
    }
    auto described = co_await describe(key);
    if (!described.ok()) {
      co_return described.error();
    }
    if (!described.value().torn.empty()) {
      spdlog::warn("{}: {} torn blocks after an unclean stop", describeChunk(key), described.value().torn.size());
    }
    auto synced = co_await sync(key);
    if (!synced.ok()) {
      co_return synced;
    }
  }
  if (unclean_) {
    co_return co_await quarantineOrphans();
  }
  co_return Status();
}

// Files that no record names: a crash came between their making and the record's commit, or between a removal's
// commit and theirs.
Task<Status> Volume::quarantineOrphans() {
  auto shardNames = disk_.list("chunks");
  if (!shardNames.ok()) {
    co_return fail(shardNames.error());
  }
  size_t found = 0;
  for (auto& name : shardNames.value()) {
    ShardId shard{};
    if (!parseShardName(name, shard)) {
      continue;
    }
    auto files = disk_.list("chunks/" + name);
    if (!files.ok()) {
      co_return fail(files.error());
    }
    for (auto& file : files.value()) {
      ChunkKey key{shard, {}};
      if (!parseChunkName(file, key.chunk)) {
        continue;
      }
      auto status = quarantineIfOrphan(key, found);
      if (!status.ok()) {
        co_return status;
      }
    }
    co_await breathe();
  }
  if (found > 0) {
    spdlog::warn("{}: {} chunk files that the index doesn't know went into quarantine", disk_.hostPath("."), found);
  }
  co_return Status(health_);
}

Status Volume::quarantineIfOrphan(ChunkKey key, size_t& found) {
  auto record = index_->get(indexKey(KeySpace::RECORD, key));
  if (!record.ok()) {
    return record.error();
  }
  bool known = record.value() && decodeRecord(*record.value()).ok() &&
               decodeRecord(*record.value()).value().kind == ChunkKind::FILE;
  if (known || gone_.count(key) > 0) {
    return {};
  }
  found++;
  counters_.quarantined++;
  Gone orphan;
  orphan.keep = true;
  auto taken = takeAway(key, orphan);
  return taken.ok() ? taken : fail(taken.error());
}

}  // namespace cairn
