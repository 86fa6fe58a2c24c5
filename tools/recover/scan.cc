#include "tools/recover/scan.h"

#include <algorithm>
#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/retired.h"
#include "chunkserver/store/volume_id.h"
#include "common/checksum.h"
#include "tools/recover/stored_chunk.h"

namespace cairn::rescue {

namespace {

constexpr uint64_t ID_BYTES_MAX = 4096;
constexpr size_t DAMAGE_LINES_MAX = 1000;
constexpr char CHUNKS[] = "chunks";

std::vector<std::string> namesIn(Disk& disk, const std::string& directory) {
  auto names = disk.list(directory);
  return names.ok() ? names.value() : std::vector<std::string>();
}

// The first chunk whose header is whole.
Result<VolumeIdentity> identifyByChunks(Disk& disk) {
  for (auto& shard : namesIn(disk, CHUNKS)) {
    std::string directory = std::string(CHUNKS) + "/" + shard;
    for (auto& name : namesIn(disk, directory)) {
      auto chunk = StoredChunk::openFile(disk, directory + "/" + name, nullptr);
      if (chunk.ok()) {
        VolumeIdentity identity;
        identity.cluster = chunk.value()->header().cluster;
        uint64_t place = hash64(disk.hostPath(""));  // stands for the volume's name, which is lost
        identity.volume = {place, ~place};
        return identity;
      }
    }
  }
  return Error{ENOENT, disk.hostPath("") + ": no volume of a chunkserver, and no chunks"};
}

void addRange(std::vector<BlockRange>& ranges, uint32_t block) {
  if (!ranges.empty() && ranges.back().end == block) {
    ++ranges.back().end;
  } else {
    ranges.push_back({block, block + 1});
  }
}

}  // namespace

Result<VolumeIdentity> identify(Disk& disk) {
  auto bytes = readWholeFile(disk, VOLUME_ID_FILE, ID_BYTES_MAX);
  if (bytes.ok()) {
    auto decoded = decodeVolumeId(asText(bytes.value()), disk.hostPath(VOLUME_ID_FILE));
    if (decoded.ok()) {
      return decoded;
    }
  }
  return identifyByChunks(disk);
}

Status Scanner::run() {
  auto begun = begin();
  if (!begun.ok() || found_.finished) {
    return begun;
  }
  openIndex();
  auto scanned = scanFiles();
  if (scanned.ok()) {
    scanned = scanDeleted();
  }
  if (scanned.ok() && index_.get() != nullptr) {
    scanned = scanValues();
  }
  if (!scanned.ok()) {
    return scanned;
  }
  found_.salvaged = index_.get() == nullptr || index_->isSalvaged();
  found_.finished = true;
  return map_ == nullptr ? Status() : writer_->finish(found_);
}

Status Scanner::begin() {
  if (map_ == nullptr) {
    return {};
  }
  FoundDisk before;
  auto writer = MapWriter::open(*map_, found_, before);
  if (!writer.ok()) {
    return writer.error();
  }
  writer_ = kj::mv(writer.value());
  if (before.finished) {
    std::string path = found_.path;
    found_ = std::move(before);
    found_.path = path;
    return {};
  }
  for (auto& copy : before.copies) {
    done_.insert({copy.key, copy.path});
    if (copy.kind == ChunkKind::FILE && !copy.deleted) {
      hasFile_.insert(copy.key);
    }
    for (auto& range : copy.bad) {
      found_.badBlocks += range.end - range.first;
    }
  }
  found_.copies = std::move(before.copies);
  return {};
}

void Scanner::openIndex() {
  auto opened = VolumeIndex::open(env_, disk_.hostPath("index"));
  if (!opened.ok()) {
    note("index: " + opened.error().why);
    return;
  }
  index_ = kj::mv(opened.value());
  if (index_->isSalvaged()) {
    note("index: damaged (" + index_->damage() + "), what verifies was salvaged");
  }
  index_->scan(KeySpace::RECORD, [this](std::string_view key, std::string_view value) {
    auto record = decodeRecord(value);
    if (record.ok() && key.size() == CHUNK_KEY_BYTES) {
      records_.emplace(chunkOfKey(key), std::move(record.value()));
    }
  });
  index_->scan(KeySpace::DIRTY, [this](std::string_view key, std::string_view value) {
    auto epoch = decodeIndexNumber(value);
    if (key.size() == CHUNK_KEY_BYTES) {
      dirty_[chunkOfKey(key)] = epoch.ok() ? Epoch{epoch.value()} : Epoch{};
    }
  });
  index_->scan(KeySpace::RETIRED, [this](std::string_view key, std::string_view value) {
    auto retired = decodeRetired(key, value);
    if (retired.ok() && retired.value().kind == ChunkKind::INLINE) {
      retired_.insert(retired.value().key);
    }
  });
  index_->scan(KeySpace::IN_SYNC, [this](std::string_view key, std::string_view value) {
    auto epoch = decodeIndexNumber(value);
    if (epoch.ok() && key.size() == 1 + sizeof(uint32_t)) {
      found_.inSync[chunkOfKey(key).shard] = Epoch{epoch.value()};
    }
  });
}

// ---- chunk files ----

Status Scanner::scanFiles() {
  for (auto& name : namesIn(disk_, CHUNKS)) {
    auto scanned = scanShard(name);
    if (!scanned.ok()) {
      return scanned;
    }
  }
  return {};
}

Status Scanner::scanShard(const std::string& name) {
  ShardId shard;
  if (!parseShardName(name, shard)) {
    return {};
  }
  std::string directory = std::string(CHUNKS) + "/" + name;
  auto names = disk_.list(directory);
  if (!names.ok()) {
    note(names.error().why);
    return {};
  }
  for (auto& file : names.value()) {
    ChunkKey key{shard};
    if (parseChunkName(file, key.chunk)) {
      auto scanned = scanFile(directory + "/" + file, key, false);
      if (!scanned.ok()) {
        return scanned;
      }
    }
  }
  return {};
}

Status Scanner::scanDeleted() {
  for (auto& name : namesIn(disk_, RETIRED_DIRECTORY)) {
    Retired retired;
    if (parseRetiredName(name, retired)) {
      auto scanned = scanFile(std::string(RETIRED_DIRECTORY) + "/" + name, retired.key, true);
      if (!scanned.ok()) {
        return scanned;
      }
    }
  }
  return {};
}

// An error is one of the map: what is wrong with the disk is noted.
Status Scanner::scanFile(const std::string& path, ChunkKey key, bool deleted) {
  if (done_.contains({key, path})) {
    return {};
  }
  auto record = deleted ? records_.end() : records_.find(key);
  bool isKnown = record != records_.end() && record->second.kind == ChunkKind::FILE;
  auto opened = StoredChunk::openFile(disk_, path, isKnown ? &record->second : nullptr);
  if (!opened.ok()) {
    note(path + ": " + opened.error().why);
    ++found_.badBlocks;
    return {};
  }
  auto& chunk = *opened.value();
  const ChunkHeader& header = chunk.header();
  if (!chunk.headerDamaged() && (header.key != key || header.cluster != found_.identity.cluster)) {
    note(path + ": says that it is another chunk");
    return {};
  }
  FoundCopy copy;
  copy.key = key;
  copy.path = path;
  copy.deleted = deleted;
  copy.chunkBits = header.chunkBits;
  copy.generation = header.generation;
  copy.lastEpoch = deleted ? header.lastEpoch : lastEpoch(key, header.lastEpoch);
  copy.lengthBlocks = static_cast<uint32_t>(chunk.sums().size());
  copy.hints = header.hints;
  if (isKnown) {
    checkSums(copy, chunk.sums(), header.instance);
  }
  auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
  for (uint32_t i = 0; i < copy.lengthBlocks; ++i) {
    found_.bytesRead += chunk.sum(i) == 0 ? 0 : BLOCK_BYTES;
    if (!chunk.readBlock(i, block)) {
      addRange(copy.bad, i);
      ++found_.badBlocks;
    }
  }
  if (!copy.bad.empty()) {
    note(path + ": blocks that can't be read or don't match their checksum");
  }
  hasFile_.insert(deleted ? ChunkKey{} : key);
  return add(std::move(copy));
}

// A chunk's header is written now and then; the mark of a change that comes before it is in the index.
Epoch Scanner::lastEpoch(ChunkKey key, Epoch stored) const {
  auto mark = dirty_.find(key);
  return mark == dirty_.end() ? stored : std::max(stored, mark->second);
}

// What the index noted down when the chunk was at rest judges its checksum area: a hole there may be rot.
void Scanner::checkSums(FoundCopy& copy, const std::vector<uint64_t>& sums, uint64_t instance) const {
  const ChunkRecord& record = records_.at(copy.key);
  bool isAtRest = !dirty_.contains(copy.key) && !index_->isSalvaged();
  if (!isAtRest || (instance != 0 && record.instance != instance)) {
    return;
  }
  auto list = kj::arrayPtr(sums.data(), sums.size());
  bool same = chunkDigest(record.generation, list) == record.digest;
  copy.sums = same ? FoundCopy::Sums::CONFIRMED : FoundCopy::Sums::DIFFER;
}

// ---- small chunks ----

Status Scanner::scanValues() {
  Status status;
  index_->scan(KeySpace::VALUE, [&](std::string_view key, std::string_view value) {
    if (!status.ok() || key.size() != CHUNK_KEY_BYTES) {
      return;
    }
    ChunkKey chunkKey = chunkOfKey(key);
    if (hasFile_.contains(chunkKey) || done_.contains({chunkKey, ""})) {
      return;  // it has outgrown its value
    }
    auto chunk = StoredChunk::ofValue(value);
    bool isRight = chunk.ok() && chunk.value()->header().key == chunkKey &&
                   chunk.value()->header().cluster == found_.identity.cluster;
    if (!isRight) {
      note("index: a damaged small chunk of object " + std::to_string(raw(chunkKey.chunk.object)));
      ++found_.badBlocks;
      return;
    }
    const ChunkHeader& header = chunk.value()->header();
    FoundCopy copy;
    copy.key = chunkKey;
    copy.kind = ChunkKind::INLINE;
    copy.deleted = retired_.contains(chunkKey);
    copy.doubtful = index_->isSalvaged();
    copy.sums = FoundCopy::Sums::CONFIRMED;
    copy.chunkBits = header.chunkBits;
    copy.generation = header.generation;
    copy.lastEpoch = lastEpoch(chunkKey, header.lastEpoch);
    copy.lengthBlocks = static_cast<uint32_t>(chunk.value()->sums().size());
    copy.hints = header.hints;
    auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
    for (uint32_t i = 0; i < copy.lengthBlocks; ++i) {
      found_.bytesRead += BLOCK_BYTES;
      if (!chunk.value()->readBlock(i, block)) {
        addRange(copy.bad, i);
        ++found_.badBlocks;
      }
    }
    status = add(std::move(copy));
  });
  return status;
}

Status Scanner::add(FoundCopy copy) {
  auto kept = map_ == nullptr ? Status() : writer_->add(copy);
  found_.copies.push_back(std::move(copy));
  return kept;
}

void Scanner::note(std::string what) {
  if (found_.damage.size() < DAMAGE_LINES_MAX) {
    found_.damage.push_back(std::move(what));
  }
}

}  // namespace cairn::rescue
