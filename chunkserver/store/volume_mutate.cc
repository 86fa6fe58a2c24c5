#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

Task<Result<Mutated>> Volume::write(ChunkId chunk, const ChunkContext& context, kj::ArrayPtr<const WritePiece> pieces) {
  auto plan = WritePlan::make(context.chunkBits, pieces);
  return change(ChunkKey{context.shard, chunk}, context, ChangeKind::WRITE, kj::mv(plan));
}

Task<Result<Mutated>> Volume::punch(ChunkId chunk, const ChunkContext& context, uint32_t offset, uint32_t length) {
  auto plan = WritePlan::makePunch(context.chunkBits, offset, length);
  return change(ChunkKey{context.shard, chunk}, context, ChangeKind::PUNCH, kj::mv(plan));
}

Task<Result<Mutated>> Volume::applyCuts(ChunkId chunk, const ChunkContext& context) {
  return change(ChunkKey{context.shard, chunk}, context, ChangeKind::CUTS, WritePlan());
}

// Everything that a change of the chunk has to wait for: true when there is nothing, or an error.
bool Volume::readyNow(Chunk& chunk, Epoch epoch, Status& status) {
  status = health_;
  if (!status.ok()) {
    return true;
  }
  if (!chunk.loaded && !loadWarm(chunk, status)) {
    return false;
  }
  if (!status.ok()) {
    return true;
  }
  if (!index_->hasRoom()) {
    return false;
  }
  if (!chunk.present) {
    auto gone = gone_.find(chunk.key);
    return gone == gone_.end() || !gone->second.hasFile;
  }
  return chunk.kind == ChunkKind::INLINE || !needsMark(chunk, epoch);
}

Task<Status> Volume::makeReady(Chunk& chunk, Epoch epoch) {
  Status status;
  while (!readyNow(chunk, epoch, status)) {
    if (!chunk.loaded) {
      auto loaded = co_await loadCold(chunk);
      status = loaded;
    } else if (!index_->hasRoom()) {
      co_await index_->room();
    } else if (!chunk.present) {
      auto settled = co_await settleGone();
      status = settled;
    } else {
      auto marked = co_await markDirty(chunk, epoch);
      status = marked;
    }
    if (!status.ok()) {
      co_return status;
    }
  }
  co_return status;
}

// A file that was never synced has promised nothing yet: until then its mark need not be durable.
bool Volume::needsMark(const Chunk& chunk, Epoch epoch) const {
  if (chunk.kind == ChunkKind::INLINE || !chunk.settled) {
    return false;
  }
  auto* mark = dirty_.find(chunk.key);
  return mark == nullptr || mark->epoch < epoch;
}

Task<Status> Volume::markDirty(Chunk& chunk, Epoch epoch) {
  chunk.lastEpoch = std::max(chunk.lastEpoch, epoch);
  index_->put(indexKey(KeySpace::DIRTY, chunk.key), encodeIndexNumber(raw(chunk.lastEpoch)));
  index_->put(indexKey(KeySpace::RECORD, chunk.key), encodeRecord(chunk.record()));
  auto status = co_await index_->commit();
  if (status.ok()) {
    DirtyMark& mark = dirty_.mark(chunk.key);
    mark.epoch = chunk.lastEpoch;
    mark.changed = clock_.monotonic();
  }
  co_return status.ok() ? status : health_;
}

Status Volume::checkContext(const Chunk& chunk, const ChunkContext& context, ChangeKind kind) const {
  if (context.chunkBits < CHUNK_BITS_MIN || context.chunkBits > CHUNK_BITS_MAX) {
    return Error{EINVAL, fmt::format("chunks of 2^{} bytes are not kept", context.chunkBits)};
  }
  if (!chunk.present) {
    return {};
  }
  if (context.chunkBits != chunk.chunkBits) {
    return Error{EINVAL, fmt::format("{} is of 2^{} bytes, not 2^{}", describeChunk(chunk.key), chunk.chunkBits,
                                     context.chunkBits)};
  }
  if (context.generation < chunk.generation && kind != ChangeKind::CUTS) {
    return Error{ESTALE, fmt::format("{} is of generation {}, the request of {}", describeChunk(chunk.key),
                                     chunk.generation, context.generation)};
  }
  return {};
}

Status Volume::checkSpace(const Chunk& chunk, const WritePlan& plan) {
  uint64_t blocks = 0;
  for (auto& run : plan.runs()) {
    for (uint32_t i = 0; i < run.count(); i++) {
      blocks += chunk.sum(run.first + i) == 0;
    }
  }
  for (uint32_t block : plan.partial()) {
    blocks += chunk.sum(block) == 0;
  }
  if (blocks > 0 && !admits(blocks * BLOCK_BYTES)) {
    return Error{ENOSPC, fmt::format("{}: no space for {} more bytes; remove files or add a disk", disk_.hostPath("."),
                                     blocks * BLOCK_BYTES)};
  }
  return {};
}

Task<Status> Volume::comeReady(Chunk& chunk, TurnQueue::Turn& turn, Epoch epoch) {
  if (!turn.mine()) {
    co_await turn.come();
  }
  if (crowded(chunk)) {
    co_await relief();
  }
  co_return co_await makeReady(chunk, epoch);
}

Task<Result<Mutated>> Volume::change(ChunkKey key, const ChunkContext& context, ChangeKind kind,
                                     Result<WritePlan> planned) {
  if (!planned.ok()) {
    co_return planned.error();
  }
  WritePlan plan = kj::mv(planned.value());
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  Status status;
  if (!turn.mine() || crowded(*chunk) || !readyNow(*chunk, context.epoch, status)) {
    auto ready = co_await comeReady(*chunk, turn, context.epoch);
    status = ready;
  }
  if (status.ok()) {
    status = checkContext(*chunk, context, kind);
  }
  if (status.ok() && kind == ChangeKind::WRITE) {
    status = checkSpace(*chunk, plan);
  }
  if (!status.ok()) {
    co_return status.error();
  }
  if (!chunk->present && (kind != ChangeKind::WRITE || plan.endBlock() == 0)) {
    co_return Mutated();
  }
  uint32_t blocksBefore = chunk->allocatedBlocks;
  status = chunk->present ? applyCutsNow(*chunk, context, kind == ChangeKind::CUTS) : Status();
  if (status.ok() && kind != ChangeKind::CUTS) {
    auto partial = plan.partial();
    auto old = oldBlocksWarm(*chunk, partial);
    if (old.code() == EAGAIN) {
      auto read = co_await oldBlocksCold(*chunk, partial);
      old = kj::mv(read);
    }
    status = old.ok() ? commitPlan(*chunk, context, kj::mv(plan), kj::mv(old.value())) : Status(old.error());
  }
  Mutated applied = settleAllocation(*chunk, blocksBefore);
  if (!status.ok()) {
    co_return status.error();
  }
  co_return applied;
}

Status Volume::commitPlan(Chunk& chunk, const ChunkContext& context, WritePlan plan, WritePlan::OldBlocks old) {
  bool created = !chunk.present;
  if (created) {
    begin(chunk, context.chunkBits, context.generation, context.hints);
  }
  auto status = commitChanges(chunk, kj::mv(plan).finish(kj::mv(old)));
  if (status.ok() && !created) {
    takeContext(chunk, context);
  }
  finish(chunk, status, created, context.epoch);
  return status;
}

// A chunk that comes into being with the change that follows.
void Volume::begin(Chunk& chunk, uint8_t chunkBits, uint32_t generation, const ChunkHints& hints) {
  gone_.erase(chunk.key);
  chunk.present = true;
  chunk.chunkBits = chunkBits;
  chunk.generation = generation;
  chunk.instance = random_.next();
  chunk.hints = hints;
}

// After commitChanges(): notes the change, or takes back the chunk that it was to make.
void Volume::finish(Chunk& chunk, const Status& status, bool created, Epoch epoch) {
  if (status.ok()) {
    changed(chunk, epoch);
  } else if (created) {
    if (chunk.file.get() != nullptr) {
      // No record names the file; one that can't be removed now is found after the next unclean stop.
      (void)disk_.remove(chunkPath(chunk.key));
    }
    closeFile(chunk);
    chunk.clear();
  } else if (chunk.recordStale) {
    // It has become a file on the way.
    changed(chunk, epoch);
  }
}

// EAGAIN: some are not in the page cache.
Result<WritePlan::OldBlocks> Volume::oldBlocksWarm(Chunk& chunk, const std::vector<uint32_t>& blocks) {
  WritePlan::OldBlocks old;
  for (uint32_t block : blocks) {
    if (chunk.sum(block) == 0) {
      continue;
    }
    auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
    if (chunk.kind == ChunkKind::INLINE) {
      memcpy(bytes.begin(), chunk.bytes.data() + size_t{block} * BLOCK_BYTES, BLOCK_BYTES);
    } else if (!chunk.lost) {
      uint64_t offset = blockOffset(chunk.chunkBits, block);
      auto got = chunk.file->file->readCached(offset, bytes);
      if (!got.ok()) {
        bool cold = got.code() == EAGAIN || got.code() == EIO;
        return cold ? Error{EAGAIN, got.error().why} : fail(got.error()).error();
      }
      memset(bytes.begin() + got.value(), 0, BLOCK_BYTES - got.value());
    }
    auto taken = takeOldBlock(chunk, block, kj::mv(bytes), kj::mv(old));
    if (!taken.ok()) {
      return taken.error();
    }
    old = kj::mv(taken.value());
  }
  return old;
}

Task<Result<WritePlan::OldBlocks>> Volume::oldBlocksCold(Chunk& chunk, std::vector<uint32_t> blocks) {
  WritePlan::OldBlocks old;
  for (uint32_t block : blocks) {
    if (chunk.sum(block) == 0) {
      continue;
    }
    auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
    auto status = co_await readBlocks(chunk, block, bytes, From::CACHE);
    if (!status.ok()) {
      co_return status.error();
    }
    auto taken = takeOldBlock(chunk, block, kj::mv(bytes), kj::mv(old));
    if (!taken.ok()) {
      co_return taken.error();
    }
    old = kj::mv(taken.value());
  }
  co_return kj::mv(old);
}

Result<WritePlan::OldBlocks> Volume::takeOldBlock(Chunk& chunk, uint32_t block, kj::Array<kj::byte> bytes,
                                                  WritePlan::OldBlocks old) {
  if (chunk.lost || chunk.isBad(block) || blockChecksum(bytes) != chunk.sum(block)) {
    auto* mark = dirty_.find(chunk.key);
    bool known = chunk.isBad(block) || (mark != nullptr && (mark->unchecked || !mark->torn.empty()));
    if (!known) {
      spdlog::error("{}: block {} doesn't match its checksum", describeChunk(chunk.key), block);
      addBad(chunk, block);
      putBad(chunk);
    }
    return Error{EUCLEAN, fmt::format("{}: block {} is bad and would be written over in part only",
                                      describeChunk(chunk.key), block)};
  }
  old[block] = kj::mv(bytes);
  return kj::mv(old);
}

Task<Result<Mutated>> Volume::takeOut(ChunkKey key, bool retires) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  if (!turn.mine()) {
    co_await turn.come();
  }
  if (!index_->hasRoom()) {
    co_await index_->room();
  }
  Status status = health_;
  bool known = !status.ok() || chunk->loaded || loadWarm(*chunk, status);
  if (!status.ok()) {
    co_return status.error();
  }
  if (known && !chunk->present) {
    co_return Mutated();
  }
  // Of a file that nobody has loaded the record says enough.
  uint32_t blocks = chunk->allocatedBlocks;
  if (!known) {
    auto record = recordOf(key);
    if (!record.ok()) {
      co_return record.error();
    }
    blocks = record.value().allocatedBlocks;
  }
  Gone gone;
  gone.hasFile = !known || chunk->kind == ChunkKind::FILE;
  if (retires) {
    gone.retired = retiredNow(*chunk, blocks, gone.hasFile);
  }
  forget(*chunk, blocks, gone);
  co_return Mutated{-int64_t{blocks} * BLOCK_BYTES};
}

Task<Result<Mutated>> Volume::quarantine(ChunkKey key) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  auto come = co_await comeLoaded(*chunk, turn);
  if (!come.ok()) {
    co_return come.error();
  }
  if (!chunk->present) {
    co_return Mutated();
  }
  if (chunk->kind == ChunkKind::INLINE) {
    auto saved = co_await saveInQuarantine(*chunk);
    if (!saved.ok()) {
      co_return fail(saved.error()).error();
    }
  }
  counters_.quarantined++;
  uint32_t blocks = chunk->allocatedBlocks;
  Gone gone;
  gone.hasFile = chunk->kind == ChunkKind::FILE;
  gone.keep = true;
  forget(*chunk, blocks, gone);
  co_return Mutated{-int64_t{blocks} * BLOCK_BYTES};
}

Task<Result<Mutated>> Volume::install(ChunkKey key, const ImageView& image) {
  Pinned chunk(*this, key);
  TurnQueue::Turn turn(chunk->turns);
  Status status;
  if (!turn.mine() || crowded(*chunk) || !readyNow(*chunk, image.lastEpoch, status)) {
    auto ready = co_await comeReady(*chunk, turn, image.lastEpoch);
    status = ready;
  }
  if (!status.ok()) {
    co_return status.error();
  }
  auto changes = imageChanges(*chunk, image);
  if (!changes.ok()) {
    co_return changes.error();
  }
  if (chunk->present && (image.keepOld || !chunk->bad.empty())) {
    co_await keepCopy(*chunk);
  }
  uint32_t blocksBefore = chunk->allocatedBlocks;
  size_t badBefore = chunk->bad.size();
  bool created = !chunk->present;
  if (created) {
    begin(*chunk, image.chunkBits, image.generation, image.hints == nullptr ? ChunkHints() : *image.hints);
  }
  status = commitChanges(*chunk, kj::mv(changes.value()));
  if (status.ok()) {
    chunk->generation = image.generation;
    chunk->headerStale = chunk->dropUnsynced = !created;
    if (image.hints != nullptr) {
      takeHints(*chunk, *image.hints);
    }
    for (uint32_t block : image.badBlocks) {
      addBad(*chunk, block);
    }
  }
  finish(*chunk, status, created, image.lastEpoch);
  Mutated applied = settleAllocation(*chunk, blocksBefore);
  if (!status.ok()) {
    co_return status.error();
  }
  chunk->lastEpoch = image.lastEpoch;
  counters_.mendedBlocks += badBefore - std::min(badBefore, chunk->bad.size());
  putBad(*chunk);
  co_return applied;
}

// The image as runs of blocks, and holes where the chunk has more than it.
Result<BlockChanges> Volume::imageChanges(const Chunk& chunk, const ImageView& image) {
  uint32_t allocated = countAllocated(image.sums);
  bool sane = image.chunkBits >= CHUNK_BITS_MIN && image.chunkBits <= CHUNK_BITS_MAX &&
              image.sums.size() <= blocksOf(image.chunkBits) && image.bytes.size() == size_t{allocated} * BLOCK_BYTES &&
              (!chunk.present || chunk.chunkBits == image.chunkBits);
  if (!sane) {
    return Error{EINVAL, fmt::format("{}: an image of {} blocks and {} bytes doesn't fit", describeChunk(chunk.key),
                                     image.sums.size(), image.bytes.size())};
  }
  if (allocated > chunk.allocatedBlocks && !admits(uint64_t{allocated - chunk.allocatedBlocks} * BLOCK_BYTES)) {
    return Error{ENOSPC, fmt::format("{}: no space for an image of {} blocks", disk_.hostPath("."), allocated)};
  }
  BlockChanges changes;
  size_t used = 0;
  uint32_t end = static_cast<uint32_t>(std::max<size_t>(image.sums.size(), chunk.lengthBlocks()));
  for (uint32_t block = 0; block < end;) {
    uint32_t from = block;
    bool data = block < image.sums.size() && image.sums[block] != 0;
    while (block < end && (block < image.sums.size() && image.sums[block] != 0) == data) {
      block++;
    }
    if (!data) {
      changes.holes.push_back(BlockHole{from, block - from});
      continue;
    }
    size_t size = size_t{block - from} * BLOCK_BYTES;
    changes.runs.push_back(BlockRun{from, image.bytes.slice(used, used + size), image.sums.slice(from, block)});
    used += size;
  }
  for (auto& run : changes.runs) {
    for (uint32_t i = 0; i < run.count(); i++) {
      auto bytes = run.bytes.slice(i * size_t{BLOCK_BYTES}, (i + 1) * size_t{BLOCK_BYTES});
      bool known = std::find(image.badBlocks.begin(), image.badBlocks.end(), run.first + i) != image.badBlocks.end();
      if (!known && blockChecksum(bytes) != run.sums[i]) {
        return Error{EBADMSG, fmt::format("{}: block {} of the image doesn't match its checksum",
                                          describeChunk(chunk.key), run.first + i)};
      }
    }
  }
  return kj::mv(changes);
}

}  // namespace cairn
