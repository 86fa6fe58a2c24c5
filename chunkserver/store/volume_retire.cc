// What becomes of the chunks of deleted files: kept for a while, oldest first out when the room is wanted.
#include <algorithm>

#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {
namespace {

// Chunks given up between two looks at the loop, and before a write goes on that wants their room.
constexpr size_t PURGE_AT_ONCE = 64;
constexpr size_t PURGE_FOR_WRITE = 512;
constexpr unsigned PURGE_ROUNDS = 8;
// Room that upkeep makes ahead of those who write.
constexpr uint64_t ROOM_AHEAD_BYTES = 64 << 20;
constexpr uint64_t ROOM_AHEAD_PART = 100;

}  // namespace

Task<Result<Mutated>> Volume::retire(ChunkKey key) {
  return takeOut(key, options_.retainSeconds > 0);
}

// What the index says of a chunk that goes.
Retired Volume::retiredNow(const Chunk& chunk, uint32_t allocatedBlocks, bool hasFile) const {
  return Retired{clock_.wall() / SECOND, chunk.key, hasFile ? ChunkKind::FILE : ChunkKind::INLINE, allocatedBlocks};
}

// How much room there should be, so that a writer need not wait for it.
uint64_t Volume::roomAhead() const {
  return std::min(ROOM_AHEAD_BYTES, budget_.space().totalBytes / ROOM_AHEAD_PART);
}

bool Volume::isDue(const Retired& retired) const {
  return clock_.wall() / SECOND - retired.since >= options_.retainSeconds;
}

// The oldest of them, at most `limit`, as long as they are due or room is wanted.
std::vector<Retired> Volume::oldestRetired(size_t limit, bool wanted) {
  std::vector<Retired> found;
  std::string all(1, static_cast<char>(KeySpace::RETIRED));
  // Not from the beginning: what was given up there would have to be passed over again.
  std::string from = std::max(all, retiredFrom_);
  bool sane = true;
  auto scanned = index_->scan(from, afterPrefix(all), [&](std::string_view key, std::string_view value) {
    auto retired = decodeRetired(key, value);
    sane = retired.ok();
    if (!sane || (!wanted && !isDue(retired.value()))) {
      return false;
    }
    found.push_back(retired.value());
    return found.size() < limit;
  });
  if (scanned.ok() && !sane) {
    Index::markDamaged(disk_);
    std::string where = disk_.hostPath("index");
    (void)fail(Error{EIO, where + ": a damaged entry of a deleted chunk; the next start makes it again"});
  }
  return found;
}

// Gives it up for good.
Status Volume::giveUp(const Retired& retired) {
  index_->erase(retiredKey(retired));
  budget_.retired(-int64_t{retired.allocatedBlocks} * BLOCK_BYTES);
  if (retired.kind == ChunkKind::FILE) {
    auto removed = disk_.remove(retiredPath(retired));
    return removed.code() == ENOENT ? Status() : removed;
  }
  // A chunk of that name may have come again: then the value is its own.
  auto record = index_->get(indexKey(KeySpace::RECORD, retired.key));
  if (record.ok() && !record.value()) {
    index_->erase(indexKey(KeySpace::VALUE, retired.key));
  }
  return record.ok() ? Status() : Status(record.error());
}

Status Volume::giveUpSome(size_t limit, uint64_t wantedBytes) {
  uint64_t freed = 0;
  bool noneLeft = true;  // before the one looked at
  for (auto& retired : oldestRetired(limit, wantedBytes > 0)) {
    if (gone_.count(retired.key) > 0) {
      noneLeft = false;  // it is on its way there
      continue;
    }
    if (wantedBytes > 0 && freed >= wantedBytes && !isDue(retired)) {
      break;
    }
    auto given = giveUp(retired);
    if (!given.ok()) {
      return fail(given.error());
    }
    freed += uint64_t{retired.allocatedBlocks} * BLOCK_BYTES;
    retiredFrom_ = noneLeft ? retiredKey(retired) : retiredFrom_;
  }
  return health_;
}

// Whether so much more may be allocated, if need be in place of what was deleted.
bool Volume::admits(uint64_t bytes) {
  // More each time: the disk may have become full by more than what is wanted here.
  for (unsigned round = 0; !budget_.admits(bytes); ++round) {
    uint64_t before = budget_.retiredBytes();
    bool given = round < PURGE_ROUNDS && before > 0 && giveUpSome(PURGE_FOR_WRITE, bytes << round).ok();
    if (!given || budget_.retiredBytes() == before) {
      return false;
    }
  }
  return true;
}

Task<Status> Volume::purgeRetired() {
  for (bool more = budget_.retiredBytes() > 0; more && health_.ok() && index_->hasRoom();) {
    uint64_t room = budget_.roomBytes();
    uint64_t ahead = roomAhead();
    uint64_t before = budget_.retiredBytes();
    auto given = giveUpSome(PURGE_AT_ONCE, room < ahead ? ahead - room : 0);
    more = given.ok() && budget_.retiredBytes() != before;
    if (more) {
      co_await breathe();
      (void)budget_.refresh();  // its next look is soon
    }
  }
  co_return Status(health_);
}

// At the start, when the last stop left no figure.
Status Volume::countRetired() {
  uint64_t blocks = 0;
  std::string from(1, static_cast<char>(KeySpace::RETIRED));
  auto status = index_->scan(from, afterPrefix(from), [&blocks](std::string_view key, std::string_view value) {
    auto retired = decodeRetired(key, value);
    blocks += retired.ok() ? retired.value().allocatedBlocks : 0;
    return true;
  });
  budget_.setRetired(blocks * BLOCK_BYTES);
  return status;
}

// Of files that a lost index knew of.
Status Volume::rebuildRetired() {
  auto names = disk_.list(RETIRED_DIRECTORY);
  for (auto& name : names.ok() ? names.value() : std::vector<std::string>()) {
    Retired retired;
    if (!parseRetiredName(name, retired)) {
      continue;
    }
    auto opened = disk_.open(retiredPath(retired), Disk::Mode::READ);
    auto info = opened.ok() ? opened.value()->info() : Result<FileInfo>(opened.error());
    if (!info.ok()) {
      return info.error();
    }
    retired.allocatedBlocks = static_cast<uint32_t>(info.value().allocatedBytes / BLOCK_BYTES);
    index_->put(retiredKey(retired), encodeRetired(retired));
  }
  return names.ok() ? Status() : Status(names.error());
}

}  // namespace cairn
