#include <algorithm>
#include <cerrno>
#include <cstring>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

namespace {

// The first dead byte within the chunk under the cuts that it hasn't seen; the chunk's size when none is.
uint64_t firstDeadOf(const Chunk& chunk, const std::vector<ChunkCut>& cuts) {
  uint64_t chunkBytes = 1ull << chunk.chunkBits;
  uint64_t start = chunk.key.chunk.index * chunkBytes;
  uint64_t dead = chunkBytes;
  for (auto& cut : cuts) {
    if (cut.generation > chunk.generation) {
      dead = std::min(dead, cut.firstDead > start ? cut.firstDead - start : 0);
    }
  }
  return dead;
}

}  // namespace

uint32_t Volume::deadFrom(const Chunk& chunk, const std::vector<ChunkCut>& cuts) {
  return static_cast<uint32_t>(
      std::min<uint64_t>(firstDeadOf(chunk, cuts), chunk.lengthBlocks() * uint64_t{BLOCK_BYTES}));
}

// Drops what the context's cuts say is dead. `always`: the generation rises even if nothing is.
Status Volume::applyCutsNow(Chunk& chunk, const ChunkContext& context, bool always) {
  uint32_t dead = deadFrom(chunk, context.cuts);
  bool drops = dead < chunk.lengthBlocks() * BLOCK_BYTES;
  if (!drops && !(always && context.generation > chunk.generation)) {
    return {};
  }
  if (drops) {
    auto status = dropFrom(chunk, dead);
    if (!status.ok()) {
      return status;
    }
    chunk.dropUnsynced = true;
  }
  takeContext(chunk, context);
  changed(chunk, context.epoch);
  return {};
}

// What a change brings with it. The header follows at the next sync.
void Volume::takeContext(Chunk& chunk, const ChunkContext& context) {
  takeHints(chunk, context.hints);
  if (context.generation > chunk.generation) {
    chunk.generation = context.generation;
    chunk.headerStale = true;
  }
}

void Volume::takeHints(Chunk& chunk, const ChunkHints& hints) {
  const ChunkHints& old = chunk.hints;
  bool same = old.inode == hints.inode && old.mode == hints.mode && old.uid == hints.uid && old.gid == hints.gid &&
              old.path == hints.path;
  if (hints.inode != InodeId{} && !same) {
    chunk.hints = hints;
    chunk.headerStale = true;
  }
}

Status Volume::dropFrom(Chunk& chunk, uint32_t firstDead) {
  BlockChanges changes;
  uint32_t firstBlock = (firstDead + BLOCK_BYTES - 1) / BLOCK_BYTES;
  uint32_t partial = firstDead / BLOCK_BYTES;
  if (partial < firstBlock && chunk.sum(partial) != 0 && !chunk.lost) {
    auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
    auto status = readBlockNow(chunk, partial, bytes);
    if (!status.ok()) {
      return status;
    }
    // A bad block (zeros when it can't be read) stays bad: nobody reads past its checksum.
    if (blockChecksum(bytes) == chunk.sum(partial)) {
      uint32_t keep = firstDead % BLOCK_BYTES;
      memset(bytes.begin() + keep, 0, BLOCK_BYTES - keep);
      uint64_t sum = blockChecksum(bytes);
      changes.addOwned(partial, kj::mv(bytes), sum);
    }
  }
  if (firstBlock < chunk.lengthBlocks()) {
    changes.holes.push_back(BlockHole{firstBlock, chunk.lengthBlocks() - firstBlock});
  }
  return commitChanges(chunk, kj::mv(changes));
}

Status Volume::readBlockNow(Chunk& chunk, uint32_t block, kj::ArrayPtr<kj::byte> out) {
  if (chunk.kind == ChunkKind::INLINE) {
    memcpy(out.begin(), chunk.bytes.data() + size_t{block} * BLOCK_BYTES, BLOCK_BYTES);
    return {};
  }
  auto got = chunk.file->file->readNow(blockOffset(chunk.chunkBits, block), out);
  if (got.code() == EIO) {
    memset(out.begin(), 0, out.size());
    return noteUnreadable(chunk, got.error());
  }
  if (!got.ok()) {
    return fail(got.error());
  }
  memset(out.begin() + got.value(), 0, out.size() - got.value());
  return {};
}

// All or nothing: ENOSPC leaves the chunk as it was. The index isn't touched yet, see changed().
Status Volume::commitChanges(Chunk& chunk, BlockChanges changes) {
  uint32_t end = std::max(changes.endBlock(), chunk.lengthBlocks());
  bool needsFile = chunk.kind == ChunkKind::FILE ? chunk.lost : end * uint64_t{BLOCK_BYTES} > INLINE_MAX;
  if (needsFile) {
    auto made = makeFile(chunk);
    if (!made.ok()) {
      return made;
    }
  }
  if (chunk.kind == ChunkKind::FILE) {
    auto written = commitFile(chunk, changes);
    if (!written.ok()) {
      return written;
    }
  } else {
    chunk.bytes.resize(size_t{end} * BLOCK_BYTES);
    for (auto& run : changes.runs) {
      std::copy_n(run.bytes.begin(), run.bytes.size(), chunk.bytes.data() + size_t{run.first} * BLOCK_BYTES);
    }
    for (auto& hole : changes.holes) {
      uint32_t to = std::min(hole.first + hole.count, end);
      uint32_t from = std::min(hole.first, to);
      std::fill_n(chunk.bytes.data() + size_t{from} * BLOCK_BYTES, size_t{to - from} * BLOCK_BYTES, kj::byte{0});
    }
  }
  setSums(chunk, changes);
  makeGood(chunk, changes);
  if (chunk.kind == ChunkKind::INLINE) {
    chunk.bytes.resize(chunk.sums.size() * BLOCK_BYTES);
    return {};
  }
  return writeChangedSums(chunk, changes);
}

void Volume::setSums(Chunk& chunk, const BlockChanges& changes) {
  uint32_t end = changes.endBlock();
  if (end > chunk.lengthBlocks()) {
    chunk.sums.resize(end);
  }
  for (auto& run : changes.runs) {
    std::copy(run.sums.begin(), run.sums.end(), chunk.sums.begin() + run.first);
  }
  for (auto& hole : changes.holes) {
    uint32_t to = std::min(hole.first + hole.count, chunk.lengthBlocks());
    for (uint32_t block = hole.first; block < to; block++) {
      chunk.sums[block] = 0;
    }
  }
  trimSums(chunk.sums);
}

// A block that was written whole, or is no more, is neither bad nor torn.
void Volume::makeGood(Chunk& chunk, const BlockChanges& changes) {
  auto* mark = dirty_.find(chunk.key);
  bool torn = mark != nullptr && !mark->torn.empty();
  if (chunk.bad.empty() && !torn) {
    return;
  }
  auto touched = [&changes](uint32_t block) {
    auto inRun = [block](const BlockRun& run) { return block >= run.first && block < run.first + run.count(); };
    auto inHole = [block](const BlockHole& hole) { return block >= hole.first && block < hole.first + hole.count; };
    return std::any_of(changes.runs.begin(), changes.runs.end(), inRun) ||
           std::any_of(changes.holes.begin(), changes.holes.end(), inHole);
  };
  size_t badBefore = chunk.bad.size();
  std::erase_if(chunk.bad, touched);
  if (torn) {
    std::erase_if(mark->torn, touched);
  }
  if (chunk.bad.size() != badBefore) {
    putBad(chunk);
  }
}

Status Volume::commitFile(Chunk& chunk, const BlockChanges& changes) {
  // Onto holes first: there the disk may turn out to be full, and what lands under a hole is invisible.
  auto status = writeRuns(chunk, changes, true);
  if (status.ok()) {
    status = writeRuns(chunk, changes, false);
    if (!status.ok()) {
      return fail(status.error());
    }
    return punchHoles(chunk, changes);
  }
  return status.code() == ENOSPC ? status : fail(status.error());
}

Status Volume::writeRuns(Chunk& chunk, const BlockChanges& changes, bool ontoHoles) {
  for (auto& run : changes.runs) {
    auto status = writeRun(chunk, run, ontoHoles);
    if (!status.ok()) {
      return status;
    }
  }
  return {};
}

// The parts of a run that lie on holes, or those that don't.
Status Volume::writeRun(Chunk& chunk, const BlockRun& run, bool ontoHoles) {
  for (uint32_t i = 0; i < run.count();) {
    uint32_t from = i;
    bool hole = chunk.sum(run.first + i) == 0;
    while (i < run.count() && (chunk.sum(run.first + i) == 0) == hole) {
      i++;
    }
    if (hole == ontoHoles) {
      uint64_t offset = blockOffset(chunk.chunkBits, run.first + from);
      auto bytes = run.bytes.slice(from * size_t{BLOCK_BYTES}, i * size_t{BLOCK_BYTES});
      auto status = chunk.file->file->write(offset, bytes);
      if (!status.ok()) {
        return status;
      }
    }
  }
  return {};
}

Status Volume::punchHoles(Chunk& chunk, const BlockChanges& changes) {
  for (auto& hole : changes.holes) {
    if (hole.first >= chunk.lengthBlocks()) {
      continue;
    }
    uint64_t offset = blockOffset(chunk.chunkBits, hole.first);
    bool toEnd = hole.first + hole.count >= chunk.lengthBlocks() && changes.endBlock() <= hole.first;
    auto status = toEnd ? chunk.file->file->truncate(offset)
                        : chunk.file->file->punch(offset, uint64_t{hole.count} * BLOCK_BYTES);
    if (!status.ok()) {
      return fail(status.error());
    }
  }
  return {};
}

Status Volume::writeChangedSums(Chunk& chunk, const BlockChanges& changes) {
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (auto& run : changes.runs) {
    first = std::min(first, run.first);
    end = std::max(end, run.first + run.count());
  }
  for (auto& hole : changes.holes) {
    first = std::min(first, hole.first);
    end = std::max(end, hole.first + hole.count);
  }
  end = std::min(end, blocksOf(chunk.chunkBits));
  if (first >= end) {
    return {};
  }
  auto written = writeSums(chunk, first, end);
  return written.ok() ? written : fail(written.error());
}

Status Volume::writeSums(Chunk& chunk, uint32_t first, uint32_t end) {
  auto area = kj::heapArray<uint64_t>(end - first);
  for (uint32_t block = first; block < end; block++) {
    area[block - first] = chunk.sum(block);
  }
  return chunk.file->file->write(sumsOffset(first), encodeSums(area));
}

Result<kj::Own<File>> Volume::createFile(ChunkKey key) {
  std::string path = chunkPath(key);
  std::string directory = shardDirectory(key.shard);
  auto file = disk_.open(path, Disk::Mode::CREATE_EXCLUSIVE);
  if (file.code() == ENOENT) {
    auto made = disk_.makeDirectory(directory);
    if (!made.ok()) {
      return made.error();
    }
    names_.changed("chunks");
    file = disk_.open(path, Disk::Mode::CREATE_EXCLUSIVE);
  }
  if (file.code() == EEXIST) {
    // Left behind by a crash, and in no record. Emptying it would not do: its old bytes could come back.
    counters_.quarantined++;
    Gone foreign;
    foreign.keep = true;
    auto taken = takeAway(key, foreign);
    if (!taken.ok()) {
      return taken.error();
    }
    file = disk_.open(path, Disk::Mode::CREATE_EXCLUSIVE);
  }
  names_.changed(directory);
  return file;
}

// Gives a chunk its file, with what it holds so far: nothing, a small chunk's blocks, or lost ones.
Status Volume::makeFile(Chunk& chunk) {
  auto created = createFile(chunk.key);
  if (!created.ok()) {
    return created.code() == ENOSPC ? Status(created.error()) : fail(created.error());
  }
  bool wasInline = chunk.kind == ChunkKind::INLINE;
  uint64_t instance = random_.next();
  ChunkHeader header = chunk.header(identity().cluster);
  header.instance = instance;
  header.sequence = 1;
  std::string slot = encodeHeader(header);
  auto front = kj::heapArray<kj::byte>(dataOffset(chunk.chunkBits));
  memset(front.begin(), 0, front.size());
  memcpy(front.begin() + HEADER_SLOT_OFFSETS[0], slot.data(), slot.size());
  auto sums = encodeSums(kj::arrayPtr(chunk.sums.data(), chunk.sums.size()));
  std::copy(sums.begin(), sums.end(), front.begin() + CHUNK_HEADER_BYTES);
  auto status = created.value()->write(0, front);
  if (status.ok() && wasInline && !chunk.bytes.empty()) {
    status = created.value()->write(front.size(), kj::arrayPtr(chunk.bytes.data(), chunk.bytes.size()));
  }
  if (!status.ok()) {
    // The name is in no record yet; what can't be removed now is found after the next unclean stop.
    (void)disk_.remove(chunkPath(chunk.key));
    return status.code() == ENOSPC ? status : fail(status.error());
  }
  chunk.hasBase = wasInline && chunk.inIndex;
  chunk.settled = chunk.lost;
  chunk.kind = ChunkKind::FILE;
  chunk.lost = false;
  chunk.instance = instance;
  chunk.headerSequence = 1;
  chunk.headerSlot = 1;
  chunk.headerWritten = true;
  chunk.headerStale = false;
  chunk.headerGeneration = header.generation;
  chunk.recordStale = chunk.recordUnsynced = true;
  chunk.bytes = std::vector<kj::byte>();
  chunk.file = kj::refcounted<OpenFile>(kj::mv(created.value()));
  openFiles_++;
  return {};
}

// Record and, of a small chunk, value and mark, all in one batch.
void Volume::putRecord(Chunk& chunk) {
  chunk.inIndex = true;
  chunk.recordStale = false;
  index_->put(indexKey(KeySpace::RECORD, chunk.key), encodeRecord(chunk.record()));
  auto* mark = dirty_.find(chunk.key);
  if (mark != nullptr) {
    index_->put(indexKey(KeySpace::DIRTY, chunk.key), encodeIndexNumber(raw(mark->epoch)));
  }
  if (chunk.kind == ChunkKind::INLINE) {
    index_->put(indexKey(KeySpace::VALUE, chunk.key),
                encodeInline(chunk.header(identity().cluster), kj::arrayPtr(chunk.sums.data(), chunk.sums.size()),
                             kj::arrayPtr(chunk.bytes.data(), chunk.bytes.size())));
  }
}

void Volume::eraseKeys(ChunkKey key) {
  for (KeySpace space : {KeySpace::RECORD, KeySpace::VALUE, KeySpace::DIRTY, KeySpace::BAD}) {
    index_->erase(indexKey(space, key));
  }
}

// Of a chunk that is kept as deleted the value stays, and the index says since when.
void Volume::eraseKeys(ChunkKey key, const Gone& gone) {
  if (!gone.retired || gone.hasFile) {
    eraseKeys(key);
  } else {
    for (KeySpace space : {KeySpace::RECORD, KeySpace::DIRTY, KeySpace::BAD}) {
      index_->erase(indexKey(space, key));
    }
  }
  if (gone.retired) {
    auto place = retiredKey(*gone.retired);
    retiredFrom_ = std::min(retiredFrom_, place);
    index_->put(place, encodeRetired(*gone.retired));
  }
}

// After every change of a chunk: counts it, marks it, and writes what the index must know.
void Volume::changed(Chunk& chunk, Epoch epoch) {
  auto* mark = dirty_.find(chunk.key);
  bool newMark = mark == nullptr || mark->epoch < epoch || chunk.version == 0;
  chunk.version++;
  chunk.lastEpoch = std::max(chunk.lastEpoch, epoch);
  chunk.allocatedBlocks = countAllocated(kj::arrayPtr(chunk.sums.data(), chunk.sums.size()));
  dirty_.changed(chunk.key, epoch, clock_.monotonic());
  dirty_.mark(chunk.key).record.clear();
  if (chunk.kind == ChunkKind::INLINE || (newMark && !chunk.settled) || chunk.recordStale) {
    putRecord(chunk);
  }
  dirty_.mark(chunk.key).batch = chunk.kind == ChunkKind::INLINE ? index_->pendingBatch() : 0;
}

Mutated Volume::settleAllocation(Chunk& chunk, uint32_t blocksBefore) {
  int64_t delta = (int64_t{chunk.allocatedBlocks} - int64_t{blocksBefore}) * BLOCK_BYTES;
  budget_.allocated(delta);
  count(chunk);
  return Mutated{delta};
}

// Takes the chunk out of the index; its file follows when that is durable.
void Volume::forget(Chunk& chunk, uint32_t allocatedBlocks, Gone gone) {
  eraseKeys(chunk.key, gone);
  dirty_.forget(chunk.key);
  badBlocks_.erase(chunk.key);
  budget_.allocated(-int64_t{allocatedBlocks} * BLOCK_BYTES);
  if (gone.retired) {
    budget_.retired(int64_t{allocatedBlocks} * BLOCK_BYTES);
  }
  closeFile(chunk);
  chunk.clear();
  chunk.loaded = true;
  chunk.version++;
  chunk.syncedVersion = chunk.version;  // sync() looks at gone_ instead
  gone.change = ++goneChanges_;
  gone_[chunk.key] = gone;
}

}  // namespace cairn
