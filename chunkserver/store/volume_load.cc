#include <kj/vector.h>

#include <algorithm>
#include <cerrno>

#include "chunkserver/store/volume.h"
#include "common/checksum.h"
#include "common/log.h"

namespace cairn {

// What stands before a chunk file's data.
struct Volume::AreaFound {
  bool foreign = false;  // another chunk's, or an older one's of the same name
  std::optional<FoundHeader> header;
  std::vector<uint64_t> sums;
  uint32_t sumsRead = 0;  // how many the file was long enough for
};

namespace {

uint64_t memoryOf(const Chunk& chunk) {
  return 512 + chunk.sums.capacity() * 8 + chunk.bytes.capacity() + chunk.hints.path.capacity();
}

bool allZero(kj::ArrayPtr<const kj::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](kj::byte b) { return b == 0; });
}

// What a look at a chunk with a damaged checksum area finds of one block.
struct BlockFound {
  uint64_t sum = 0;  // of the bytes that are there
  bool zero = false;
};

// The checksums that the record's digest proves, as near as can be to those that stand in the area: what fails is
// replaced by what is found. A block of zeros may be a hole, and so may bytes without a checksum.
std::optional<std::vector<uint64_t>> provenSums(const Chunk& chunk, const ChunkRecord& record,
                                                const std::vector<BlockFound>& found) {
  for (bool zerosAreHoles : {false, true}) {
    for (bool bytesAreHoles : {true, false}) {
      std::vector<uint64_t> sums(found.size());
      for (uint32_t i = 0; i < found.size(); i++) {
        bool hole = chunk.sum(i) == 0 ? found[i].zero || bytesAreHoles : found[i].zero && zerosAreHoles;
        sums[i] = found[i].sum == chunk.sum(i) || !hole ? found[i].sum : 0;
      }
      std::vector<uint64_t> trimmed = sums;
      trimSums(trimmed);
      if (chunkDigest(record.generation, kj::arrayPtr(trimmed.data(), trimmed.size())) == record.digest) {
        return sums;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

Volume::Pinned::Pinned(Volume& volume, ChunkKey key)
    : volume_(volume), chunk_([&]() -> Chunk& {
        auto& place = volume.chunks_[key];
        if (place.get() == nullptr) {
          place = kj::heap<Chunk>(key);
          place->place = volume.recent_.insert(volume.recent_.begin(), place.get());
        } else {
          volume.recent_.splice(volume.recent_.begin(), volume.recent_, place->place);
        }
        return *place;
      }()) {
  chunk_.pins++;
}

Volume::Pinned::~Pinned() noexcept(false) {
  chunk_.pins--;
  volume_.count(chunk_);
  volume_.shrink();
}

void Volume::count(Chunk& chunk) {
  size_t now = memoryOf(chunk);
  cachedBytes_ += now - chunk.countedBytes;
  chunk.countedBytes = now;
}

bool Volume::evictable(const Chunk& chunk) const {
  // A file's unsynced changes keep it: the descriptor that wrote must be the one that hears of errors.
  bool resting = chunk.pins == 0 && chunk.turns.idle() && !chunk.syncing;
  return resting && (chunk.kind == ChunkKind::INLINE || !chunk.present || chunk.version == chunk.syncedVersion);
}

void Volume::evict(Chunk& chunk) {
  auto* mark = dirty_.find(chunk.key);
  if (mark != nullptr && chunk.loaded && chunk.present) {
    mark->record = encodeRecord(chunk.record());
  }
  cachedBytes_ -= chunk.countedBytes;
  closeFile(chunk);
  recent_.erase(chunk.place);
  chunks_.erase(chunk.key);
}

void Volume::shrink() {
  constexpr unsigned LOOK_AT_MAX = 16;
  for (unsigned looked = 0; looked < LOOK_AT_MAX && !recent_.empty(); looked++) {
    if (cachedBytes_ <= options_.cachedBytesMax && openFiles_ <= options_.openFilesMax) {
      return;
    }
    Chunk& chunk = *recent_.back();
    if (evictable(chunk)) {
      evict(chunk);
    } else {
      // Out of the way of those behind it, or a row of unsynced ones would keep all others in memory.
      recent_.splice(recent_.begin(), recent_, chunk.place);
    }
  }
  if (openFiles_ > options_.openFilesMax) {
    startRelief();
  }
}

// So many files are open that one who wants another has to wait.
bool Volume::crowded(const Chunk& chunk) const {
  return chunk.file.get() == nullptr && openFiles_ >= CROWDED_FACTOR * options_.openFilesMax;
}

// Resolves when some have been synced and closed, or when none could be.
kj::Promise<void> Volume::relief() {
  auto over = relieved_.wait();
  startRelief();
  return over;
}

void Volume::startRelief() {
  if (!relieving_ && health_.ok()) {
    relieving_ = true;
    tasks_.add(kj::evalLater([this]() -> kj::Promise<void> { return relieve(); }));
  }
}

Task<void> Volume::relieve() {
  kj::Vector<kj::Promise<void>> syncs;
  for (auto it = recent_.rbegin(); it != recent_.rend() && syncs.size() < RELIEF_SYNCS; ++it) {
    Chunk& chunk = **it;
    if (chunk.file.get() != nullptr && chunk.version != chunk.syncedVersion) {
      syncs.add(sync(chunk.key).promise().ignoreResult());
    }
  }
  auto all = kj::joinPromises(syncs.releaseAsArray());
  co_await kj::mv(all);
  relieving_ = false;
  relieved_.open();
}

void Volume::closeFile(Chunk& chunk) {
  if (chunk.file.get() != nullptr) {
    chunk.file = nullptr;
    openFiles_--;
  }
}

Status Volume::openFile(Chunk& chunk) {
  if (chunk.file.get() != nullptr || chunk.lost) {
    return {};
  }
  auto opened = disk_.open(chunkPath(chunk.key), Disk::Mode::READ_WRITE);
  if (!opened.ok()) {
    return opened.error();
  }
  chunk.file = kj::refcounted<OpenFile>(kj::mv(opened.value()));
  openFiles_++;
  return {};
}

// True when that was all: absent, small, or an error. False: a file; loadCold() goes on.
bool Volume::loadWarm(Chunk& chunk, Status& status) {
  auto value = index_->get(indexKey(KeySpace::RECORD, chunk.key));
  if (!value.ok()) {
    status = value.error();
    return true;
  }
  if (!value.value()) {
    finishLoad(chunk, ChunkRecord());
    return true;
  }
  auto record = decodeRecord(*value.value());
  if (!record.ok()) {
    Index::markDamaged(disk_);
    status = fail(record.error());
    return true;
  }
  if (record.value().kind == ChunkKind::INLINE) {
    status = loadInline(chunk, record.value());
    return true;
  }
  return false;
}

// The rest of loadWarm(): of a chunk that is a file.
Task<Status> Volume::loadCold(Chunk& chunk) {
  if (crowded(chunk)) {
    co_await relief();
  }
  auto record = recordOf(chunk.key);
  if (!record.ok()) {
    co_return record.error();
  }
  co_return co_await loadFile(chunk, record.value());
}

// Its record as of now. REQUIRES: there is one.
Result<ChunkRecord> Volume::recordOf(ChunkKey key) {
  auto* mark = dirty_.find(key);
  if (mark != nullptr && !mark->record.empty()) {
    return decodeRecord(mark->record);
  }
  auto value = index_->get(indexKey(KeySpace::RECORD, key));
  return value.ok() ? decodeRecord(*value.value()) : Result<ChunkRecord>(value.error());
}

Status Volume::loadInline(Chunk& chunk, const ChunkRecord& record) {
  auto value = index_->get(indexKey(KeySpace::VALUE, chunk.key));
  if (!value.ok()) {
    return value.error();
  }
  beginLoad(chunk, record);
  auto image = value.value() ? decodeInline(*value.value()) : Result<InlineImage>(Error{EUCLEAN, "no value"});
  if (image.ok() && image.value().header.key == chunk.key) {
    chunk.hints = image.value().header.hints;
    chunk.sums = std::move(image.value().sums);
    chunk.bytes = std::move(image.value().bytes);
  }
  // Record and value change together; where they disagree neither is to be believed.
  if (chunk.digest() != record.digest) {
    spdlog::error("{}: small chunk damaged in the index; its {} blocks are bad", describeChunk(chunk.key),
                  record.lengthBlocks);
    lose(chunk, 0, record.lengthBlocks);
  }
  finishLoad(chunk, record);
  return {};
}

void Volume::lose(Chunk& chunk, uint32_t fromBlock, uint32_t endBlock) {
  chunk.sums.resize(std::max<size_t>(chunk.sums.size(), endBlock));
  if (chunk.kind == ChunkKind::INLINE) {
    chunk.bytes.resize(chunk.sums.size() * BLOCK_BYTES);
  }
  for (uint32_t block = fromBlock; block < endBlock; block++) {
    chunk.sums[block] = LOST_SUM;
    addBad(chunk, block);
  }
}

void Volume::addBad(Chunk& chunk, uint32_t block) {
  if (!chunk.isBad(block)) {
    chunk.bad.insert(std::lower_bound(chunk.bad.begin(), chunk.bad.end(), block), block);
    counters_.badBlocksFound++;
  }
}

void Volume::beginLoad(Chunk& chunk, const ChunkRecord& record) {
  auto* mark = dirty_.find(chunk.key);
  chunk.clear();
  chunk.present = chunk.inIndex = true;
  chunk.kind = record.kind;
  chunk.chunkBits = record.chunkBits;
  chunk.generation = record.generation;
  chunk.lastEpoch = mark == nullptr ? record.lastEpoch : std::max(mark->epoch, record.lastEpoch);
  chunk.instance = record.instance;
  chunk.bad = record.bad;
  chunk.settled = record.settled;
  chunk.hasBase = record.hasBase;
  chunk.recordUnsynced = record.kind == ChunkKind::FILE && !record.settled;
}

void Volume::finishLoad(Chunk& chunk, const ChunkRecord& record) {
  auto* mark = dirty_.find(chunk.key);
  trimSums(chunk.sums);
  chunk.allocatedBlocks = countAllocated(kj::arrayPtr(chunk.sums.data(), chunk.sums.size()));
  budget_.allocated((int64_t{chunk.allocatedBlocks} - int64_t{record.allocatedBlocks}) * BLOCK_BYTES);
  chunk.version = mark != nullptr && mark->unsynced ? 1 : 0;
  chunk.syncedVersion = 0;
  chunk.loaded = true;
  count(chunk);
  bool known = mark == nullptr && chunk.digest() == record.digest;
  if (chunk.present && (chunk.bad != record.bad || (mark == nullptr && !known))) {
    putBad(chunk);
  }
}

Task<Status> Volume::loadFile(Chunk& chunk, ChunkRecord record) {
  beginLoad(chunk, record);
  auto opened = openFile(chunk);
  if (opened.code() == ENOENT) {
    co_return loadWithoutFile(chunk, record);
  }
  if (opened.code() == EIO) {
    co_return loadUnreadable(chunk, record, opened.error());
  }
  if (!opened.ok()) {
    co_return fail(opened.error());
  }
  if (!record.settled) {
    names_.changed(shardDirectory(chunk.key.shard));
    names_.changed("chunks");
  }
  auto bytes = kj::heapArray<kj::byte>(dataOffset(chunk.chunkBits));
  auto got = co_await chunk.file->file->read(0, bytes);
  if (got.code() == EIO) {
    co_return loadUnreadable(chunk, record, got.error());
  }
  if (!got.ok()) {
    co_return fail(got.error());
  }
  AreaFound found = readArea(chunk, bytes.slice(0, got.value()), record);
  if (found.foreign || (!found.header && !record.settled)) {
    co_return loadWithoutFile(chunk, record);
  }
  std::optional<InlineImage> base;
  if (record.hasBase) {
    auto value = index_->get(indexKey(KeySpace::VALUE, chunk.key));
    auto image = value.ok() && value.value() ? decodeInline(*value.value()) : Result<InlineImage>(Error{ENOENT, ""});
    if (image.ok()) {
      base = std::move(image.value());
    }
  }
  if (base && found.header && base->header.generation < found.header->header.generation) {
    // The cut between the two may not have reached the file: the small chunk is what was promised.
    co_return loadWithoutFile(chunk, record);
  }
  bool whole = takeArea(chunk, std::move(found), record);
  if (!whole) {
    auto assessed = co_await assess(chunk, record);
    if (!assessed.ok()) {
      co_return assessed;
    }
  }
  if (base) {
    auto mended = co_await mendFromBase(chunk, kj::mv(*base));
    if (!mended.ok()) {
      co_return mended;
    }
  }
  finishLoad(chunk, record);
  co_return Status();
}

Volume::AreaFound Volume::readArea(const Chunk& chunk, kj::ArrayPtr<const kj::byte> bytes, const ChunkRecord& record) {
  AreaFound found;
  auto header = findHeader(bytes.slice(0, std::min<size_t>(bytes.size(), CHUNK_HEADER_BYTES)));
  if (header.ok()) {
    const ChunkHeader& h = header.value().header;
    found.foreign = h.instance != record.instance || h.key != chunk.key || h.chunkBits != record.chunkBits ||
                    h.cluster != identity().cluster;
    found.header = std::move(header.value());
  }
  if (bytes.size() > CHUNK_HEADER_BYTES) {
    size_t sums = std::min<size_t>((bytes.size() - CHUNK_HEADER_BYTES) / 8, blocksOf(record.chunkBits));
    found.sums = decodeSums(bytes.slice(CHUNK_HEADER_BYTES, CHUNK_HEADER_BYTES + sums * 8));
    found.sumsRead = static_cast<uint32_t>(sums);
  }
  return found;
}

// False when the checksum area is not the one that the record knows: every block must be looked at.
bool Volume::takeArea(Chunk& chunk, AreaFound found, const ChunkRecord& record) {
  auto* mark = dirty_.find(chunk.key);
  chunk.sums = std::move(found.sums);
  trimSums(chunk.sums);
  chunk.headerStale = !found.header;
  chunk.headerGeneration = record.generation;
  if (found.header) {
    chunk.hints = std::move(found.header->header.hints);
    chunk.generation = chunk.headerGeneration = found.header->header.generation;
    chunk.headerSequence = found.header->header.sequence;
    chunk.headerSlot = found.header->slot;
    // Of two headers the newer one may be the unsynced one: sync before the other is written over.
    chunk.dropUnsynced = mark != nullptr && mark->unsynced;
  } else {
    spdlog::error("{}: no whole header; the index knows enough to go on", describeChunk(chunk.key));
  }
  bool knowsDigest = mark == nullptr || !mark->record.empty();
  if (knowsDigest) {
    // The newer one of the two headers may be damaged: the older one says what generation the chunk had before.
    chunk.headerStale = chunk.headerStale || chunk.generation != record.generation;
    chunk.generation = record.generation;
    return chunk.digest() == record.digest;
  }
  if (!found.header || found.sumsRead < blocksOf(record.chunkBits)) {
    // Dirty, so there is no digest to go by, and what surrounds the checksums is damaged: a 0 among them may
    // be a lost one.
    for (uint32_t block = 0; block < record.lengthBlocks; block++) {
      if (chunk.sum(block) == 0) {
        lose(chunk, block, block + 1);
      }
    }
  }
  return true;
}

Status Volume::loadWithoutFile(Chunk& chunk, const ChunkRecord& record) {
  closeFile(chunk);
  if (record.hasBase) {
    // It was growing out of the index and was never synced as a file.
    ChunkRecord old = record;
    auto value = index_->get(indexKey(KeySpace::VALUE, chunk.key));
    auto image = value.ok() && value.value() ? decodeInline(*value.value()) : Result<InlineImage>(Error{ENOENT, ""});
    if (image.ok()) {
      old.kind = ChunkKind::INLINE;
      old.hasBase = false;
      old.generation = image.value().header.generation;
      old.instance = image.value().header.instance;
      old.digest = chunkDigest(old.generation, kj::arrayPtr(image.value().sums.data(), image.value().sums.size()));
      old.bad.clear();
      auto status = loadInline(chunk, old);
      putRecord(chunk);
      return status;
    }
  }
  if (!record.settled) {
    // Its first sync never came.
    budget_.allocated(-int64_t{record.allocatedBlocks} * BLOCK_BYTES);
    chunk.clear();
    eraseKeys(chunk.key);
    badBlocks_.erase(chunk.key);
    dirty_.forget(chunk.key);
    finishLoad(chunk, ChunkRecord());
    return {};
  }
  spdlog::error("{}: the file is gone or another's; its {} blocks are bad", describeChunk(chunk.key),
                record.lengthBlocks);
  counters_.missingChunks++;
  chunk.lost = true;
  chunk.headerGeneration = chunk.generation;
  lose(chunk, 0, record.lengthBlocks);
  finishLoad(chunk, record);
  return {};
}

// What says where things are can't be read: as if the file were gone. It goes to quarantine with the next change.
// Where the record may be older than the chunk it can't say what is lost: then the volume has failed.
Status Volume::loadUnreadable(Chunk& chunk, const ChunkRecord& record, const Error& error) {
  auto* mark = dirty_.find(chunk.key);
  if (!record.settled || (mark != nullptr && mark->record.empty())) {
    return fail(error);
  }
  auto noted = noteUnreadable(chunk, error);
  return noted.ok() ? loadWithoutFile(chunk, record) : noted;
}

// The area differs from what the record says, so a checksum that doesn't match its block may itself be the damage: it
// is lost, and the block bad. But only if, with those of what is found in place of the failing ones, the area is the
// one that the record knows, is that the whole damage. Else blocks that match may do so for being old with their
// checksums (a disk that has lost writes), and none is believed.
Task<Status> Volume::assess(Chunk& chunk, const ChunkRecord& record) {
  uint32_t end = std::max(chunk.lengthBlocks(), record.lengthBlocks);
  auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
  std::vector<BlockFound> found(end);
  for (uint32_t i = 0; i < end; i++) {
    auto status = co_await readBlocks(chunk, i, block, From::CACHE);
    if (!status.ok()) {
      co_return status.error();
    }
    found[i] = {blockChecksum(block), allZero(block)};
  }
  size_t badBefore = chunk.bad.size();
  auto proven = provenSums(chunk, record, found);
  for (uint32_t i = 0; i < end; i++) {
    if (!proven || (*proven)[i] != chunk.sum(i)) {
      lose(chunk, i, i + 1);
    }
  }
  spdlog::error("{}: checksum area damaged{}; {} of {} blocks are bad", describeChunk(chunk.key),
                proven ? "" : ", or writes were lost", chunk.bad.size() - badBefore, end);
  auto written = writeSums(chunk, 0, chunk.lengthBlocks());
  co_return written.ok() ? written : fail(written.error());
}

// Blocks of the small chunk that the file grew from stand in for those that never reached the file.
Task<Status> Volume::mendFromBase(Chunk& chunk, InlineImage base) {
  auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
  BlockChanges changes;
  for (uint32_t i = 0; i < base.sums.size(); i++) {
    if (base.sums[i] == 0) {
      continue;
    }
    auto status = co_await readBlocks(chunk, i, block, From::CACHE);
    if (!status.ok()) {
      co_return status.error();
    }
    uint64_t sum = chunk.sum(i);
    if (sum == 0 || blockChecksum(block) != sum) {
      auto bytes = kj::heapArray<kj::byte>(base.bytes.data() + i * size_t{BLOCK_BYTES}, BLOCK_BYTES);
      changes.addOwned(i, kj::mv(bytes), base.sums[i]);
    }
  }
  co_return commitChanges(chunk, kj::mv(changes));
}

}  // namespace cairn
