#include <fmt/format.h>

#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {

namespace {

const char* const USED_KEY = "used";
const char* const RETIRED_KEY = "retired";
// Chunks whose records go into one batch while the index is made again.
constexpr size_t REBUILD_BATCH = 4096;

// The record that a chunk file gives itself: enough to find its checksums; the rest is checked later.
ChunkRecord recordFrom(const ChunkHeader& header) {
  ChunkRecord record;
  record.kind = ChunkKind::FILE;
  record.chunkBits = header.chunkBits;
  record.settled = true;
  record.generation = header.generation;
  record.lastEpoch = header.lastEpoch;
  record.instance = header.instance;
  return record;
}

}  // namespace

Result<kj::Own<VolumeStore>> openVolume(Disk& disk, leveldb::Env& env, Clock& clock, Workers& workers, Random& random,
                                        const VolumeOptions& options) {
  for (bool first = true;; first = false) {
    auto claimed = claimVolume(disk, random, options);
    if (!claimed.ok()) {
      return claimed.error();
    }
    auto volume = kj::heap<Volume>(disk, clock, workers, random, options, kj::mv(claimed.value()));
    auto status = volume->open(env);
    if (status.ok()) {
      kj::Own<VolumeStore> store = kj::mv(volume);
      return kj::mv(store);
    }
    // LevelDB opens what it can't read: then it turns out now that the index must be made again.
    if (!first || !Index::isMarkedDamaged(disk)) {
      return status.error();
    }
  }
}

Volume::Volume(Disk& disk, Clock& clock, Workers& workers, Random& random, const VolumeOptions& options,
               ClaimedVolume claimed)
    : disk_(disk),
      clock_(clock),
      workers_(workers),
      random_(random),
      options_(options),
      claimed_(kj::mv(claimed)),
      names_(disk),
      budget_(disk, options.capacityLimit),
      tasks_(*this) {}

Volume::~Volume() noexcept(false) {}

Status Volume::open(leveldb::Env& env) {
  for (const char* directory : {"chunks", "quarantine", RETIRED_DIRECTORY}) {
    auto made = disk_.makeDirectory(directory);
    if (!made.ok()) {
      return made;
    }
  }
  auto opened = Index::open(disk_, env, clock_, workers_);
  if (!opened.ok()) {
    return opened.error();
  }
  index_ = kj::mv(opened.value().index);
  index_->onFailure([this](const Error& error) { (void)fail(error); });
  unclean_ = opened.value().unclean && !claimed_.created;
  if (unclean_) {
    // Shards' directories that the last process made, and whose names it may not have synced.
    names_.changed("chunks");
  }
  if (opened.value().fresh && !claimed_.created) {
    if (options_.rebuildLater) {
      rebuildDue_ = opened.value().why;
      return {};
    }
    auto status = rebuild(opened.value().why);
    if (!status.ok()) {
      return status;
    }
  }
  return readAll();
}

Status Volume::readAll() {
  auto status = index_->clearDamaged();
  if (status.ok()) {
    status = readIndex();
  }
  if (status.ok()) {
    status = countUsed();
  }
  if (status.ok()) {
    status = budget_.refresh();
  }
  return status;
}

Status Volume::readIndex() {
  Nanos now = clock_.monotonic();
  Status wrong;
  auto number = [&wrong](std::string_view value) {
    auto decoded = decodeIndexNumber(value);
    wrong = decoded.ok() ? wrong : Status(decoded.error());
    return decoded.ok() ? decoded.value() : 0;
  };
  auto all = [this](KeySpace space, const std::function<bool(std::string_view, std::string_view)>& each) {
    std::string from(1, static_cast<char>(space));
    return index_->scan(from, afterPrefix(from), each);
  };
  auto status = all(KeySpace::DIRTY, [&](std::string_view key, std::string_view value) {
    DirtyMark& mark = dirty_.mark(chunkOfKey(key));
    mark.epoch = Epoch{number(value)};
    mark.changed = mark.unsyncedSince = now;
    // What the last process wrote and didn't sync may be in the page cache only.
    mark.unsynced = mark.unchecked = true;
    return true;
  });
  if (status.ok()) {
    status = all(KeySpace::BAD, [&](std::string_view key, std::string_view value) {
      badBlocks_[chunkOfKey(key)] = static_cast<uint32_t>(number(value));
      return true;
    });
  }
  if (status.ok()) {
    status = all(KeySpace::IN_SYNC, [&](std::string_view key, std::string_view value) {
      inSync_[chunkOfKey(key).shard] = Epoch{number(value)};
      return true;
    });
  }
  if (status.ok() && !wrong.ok()) {
    Index::markDamaged(disk_);
    status = Error{EIO, disk_.hostPath("index") + ": " + wrong.error().why + "; the next start makes it again"};
  }
  return status;
}

Status Volume::countUsed() {
  auto noted = index_->get(metaKey(USED_KEY));
  if (!noted.ok()) {
    return noted.error();
  }
  if (noted.value()) {
    auto used = decodeIndexNumber(*noted.value());
    budget_.setUsed(used.ok() ? used.value() : 0);
    auto retired = index_->get(metaKey(RETIRED_KEY));
    auto bytes = retired.ok() && retired.value() ? decodeIndexNumber(*retired.value()) : Result<uint64_t>(uint64_t{0});
    budget_.setRetired(bytes.ok() ? bytes.value() : 0);
    // It holds from a clean stop to the next start only.
    index_->erase(metaKey(USED_KEY));
    if (used.ok() && !unclean_) {
      return index_->commitNow();
    }
  }
  uint64_t blocks = 0;
  std::string from(1, static_cast<char>(KeySpace::RECORD));
  auto status = index_->scan(from, afterPrefix(from), [&blocks](std::string_view, std::string_view value) {
    auto record = decodeRecord(value);
    blocks += record.ok() ? record.value().allocatedBlocks : 0;
    return true;
  });
  budget_.setUsed(blocks * BLOCK_BYTES);
  if (status.ok()) {
    status = countRetired();
  }
  return status.ok() ? index_->commitNow() : status;
}

void Volume::beginRebuild(const std::string& why) {
  spdlog::error(
      "{}: the index is not to be trusted ({}); making it again from the chunk files. Chunks up to {} KiB "
      "that were in it are missing here and come back from the other members",
      disk_.hostPath("."), why.empty() ? "it is gone" : why, INLINE_MAX >> 10);
  rebuilt_ = true;
  unclean_ = true;
}

Status Volume::rebuild(const std::string& why) {
  beginRebuild(why);
  auto shards = disk_.list("chunks");
  if (!shards.ok()) {
    return shards.error();
  }
  size_t found = 0;
  for (auto& name : shards.value()) {
    ShardId shard{};
    if (parseShardName(name, shard)) {
      auto status = rebuildShard(name, shard, found);
      if (!status.ok()) {
        return status;
      }
    }
  }
  spdlog::warn("{}: {} chunk files taken into the new index", disk_.hostPath("."), found);
  auto retired = rebuildRetired();
  if (!retired.ok()) {
    return retired;
  }
  return index_->commitNow();
}

void Volume::takeIn(ChunkKey key, kj::ArrayPtr<const kj::byte> front, size_t& found) {
  auto header = findHeader(front);
  if (!header.ok() || header.value().header.key != key || header.value().header.cluster != identity().cluster) {
    // It stays without a record, so recheck() puts it into quarantine.
    spdlog::error("{}: not a chunk of this place", disk_.hostPath(chunkPath(key)));
    return;
  }
  index_->put(indexKey(KeySpace::RECORD, key), encodeRecord(recordFrom(header.value().header)));
  index_->put(indexKey(KeySpace::DIRTY, key), encodeIndexNumber(raw(header.value().header.lastEpoch)));
  found++;
}

Status Volume::rebuildShard(const std::string& name, ShardId shard, size_t& found) {
  auto files = disk_.list("chunks/" + name);
  if (!files.ok()) {
    return files.error();
  }
  auto block = kj::heapArray<kj::byte>(CHUNK_HEADER_BYTES);
  for (auto& file : files.value()) {
    ChunkKey key{shard, {}};
    if (!parseChunkName(file, key.chunk)) {
      continue;
    }
    auto opened = disk_.open(chunkPath(key), Disk::Mode::READ);
    auto got = opened.ok() ? opened.value()->readNow(0, block) : Result<size_t>(opened.error());
    if (!got.ok()) {
      return got.error();
    }
    takeIn(key, block.slice(0, got.value()), found);
    if (found % REBUILD_BATCH == REBUILD_BATCH - 1) {
      auto status = index_->commitNow();
      if (!status.ok()) {
        return status;
      }
    }
  }
  return {};
}

}  // namespace cairn
