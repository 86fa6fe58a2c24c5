#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {

namespace {

const char* const USED_KEY = "used";
const char* const RETIRED_KEY = "retired";
// How often the quarantine is looked through.
constexpr Nanos PURGE_EVERY = 3600 * SECOND;
// What stays there even when the disk is full.
constexpr int64_t KEEP_SECONDS = 3600;

}  // namespace

Task<Status> Volume::maintain() {
  if (health_.ok() && !disk_.exists(VOLUME_ID_FILE)) {
    (void)fail(Error{EIO, fmt::format("{}: {} has vanished: unmounted, or removed. Mount it again and restart",
                                      disk_.hostPath("."), VOLUME_ID_FILE)});
  }
  if (!health_.ok()) {
    co_return Status(health_);
  }
  auto asked = budget_.refresh();
  if (!asked.ok()) {
    co_return fail(asked.error());
  }
  if (!gone_.empty()) {
    auto settled = co_await settleGone();
    if (!settled.ok()) {
      co_return settled;
    }
  }
  auto synced = co_await syncAll(dirty_.toSync(clock_.monotonic(), WRITE_BACK_MAX));
  if (!synced.ok()) {
    co_return synced;
  }
  if (dirty_.smallToSync(clock_.monotonic())) {
    auto small = co_await syncSmall();
    if (!small.ok()) {
      co_return fail(small.error());
    }
  }
  clearMarks(false);
  purgeQuarantine(budget_.space().full);
  auto purged = co_await purgeRetired();
  if (!purged.ok()) {
    co_return purged;
  }
  shrink();
  co_return Status(health_);
}

// All at once: what goes to the index shares its commits.
Task<Status> Volume::syncAll(std::vector<ChunkKey> keys) {
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(keys.size());
  for (ChunkKey key : keys) {
    promises.add(sync(key).promise().ignoreResult());
  }
  co_await kj::joinPromises(promises.finish());
  co_return Status(health_);
}

void Volume::clearMarks(bool atStop) {
  for (ChunkKey key : dirty_.toClear(clock_.monotonic(), atStop)) {
    clearMark(key);
  }
}

// The record says what the chunk is now, in the batch that takes the mark away.
void Volume::clearMark(ChunkKey key) {
  auto found = chunks_.find(key);
  std::string record = dirty_.find(key)->record;
  if (found != chunks_.end() && found->second->loaded) {
    Chunk& chunk = *found->second;
    if (!chunk.turns.idle() || chunk.syncing || chunk.hasBase || !chunk.present) {
      return;
    }
    record = encodeRecord(chunk.record());
  }
  if (record.empty()) {
    return;
  }
  index_->put(indexKey(KeySpace::RECORD, key), kj::mv(record));
  index_->erase(indexKey(KeySpace::DIRTY, key));
  dirty_.forget(key);
}

Task<Status> Volume::close() {
  if (!health_.ok()) {
    co_return Status(health_);
  }
  if (!gone_.empty()) {
    auto settled = co_await settleGone();
    if (!settled.ok()) {
      co_return settled;
    }
  }
  auto small = co_await syncSmall();
  if (!small.ok()) {
    co_return fail(small.error());
  }
  auto unsynced = dirty_.unsynced();
  for (size_t from = 0; from < unsynced.size(); from += WRITE_BACK_MAX) {
    size_t to = std::min(from + WRITE_BACK_MAX, unsynced.size());
    std::vector<ChunkKey> some(unsynced.begin() + static_cast<ptrdiff_t>(from),
                               unsynced.begin() + static_cast<ptrdiff_t>(to));
    auto synced = co_await syncAll(some);
    if (!synced.ok()) {
      co_return synced;
    }
  }
  clearMarks(true);
  index_->put(metaKey(USED_KEY), encodeIndexNumber(budget_.usedBytes()));
  index_->put(metaKey(RETIRED_KEY), encodeIndexNumber(budget_.retiredBytes()));
  auto closed = co_await index_->close();
  if (!closed.ok()) {
    co_return fail(closed.error());
  }
  health_ = Error{EIO, disk_.hostPath(".") + ": closed"};
  co_return closed;
}

VolumeCounters Volume::counters() const {
  VolumeCounters out = counters_;
  out.dirtyChunks = dirty_.size();
  out.uncheckedChunks = dirty_.uncheckedCount();
  out.tornBlocks = dirty_.tornBlocks();
  for (auto& entry : badBlocks_) {
    out.badBlocks += entry.second;
  }
  out.openFiles = openFiles_;
  out.cachedBytes = cachedBytes_;
  out.indexSyncs = index_->syncs();
  return out;
}

// Into quarantine with the time, so that it can be let go some day.
std::string Volume::quarantinePath(ChunkKey key) {
  return fmt::format("quarantine/{:08x}-{}.{}", raw(key.shard), chunkFileName(key.chunk), clock_.wall() / SECOND);
}

// What has lain there for long, or not so long when the disk is full, makes room.
void Volume::purgeQuarantine(bool urgent) {
  Nanos now = clock_.monotonic();
  if (purged_ != 0 && now - purged_ < (urgent ? 10 * SECOND : PURGE_EVERY)) {
    return;
  }
  purged_ = now;
  auto names = disk_.list("quarantine");
  int64_t wall = clock_.wall() / SECOND;
  for (auto& name : names.ok() ? names.value() : std::vector<std::string>()) {
    int64_t since = 0;
    size_t dot = name.rfind('.');
    bool dated = dot != std::string::npos &&
                 std::from_chars(name.data() + dot + 1, name.data() + name.size(), since).ec == std::errc();
    if (dated && name.rfind("index-", 0) != 0 && wall - since > (urgent ? KEEP_SECONDS : QUARANTINE_SECONDS)) {
      auto removed = disk_.remove("quarantine/" + name);
      if (!removed.ok()) {
        spdlog::warn("can't remove from quarantine: {}", removed.error().why);
      }
    }
  }
}

bool Volume::idle() const {
  auto resting = [](const Chunk* chunk) { return chunk->pins == 0 && chunk->turns.idle() && !chunk->syncing; };
  return std::all_of(recent_.begin(), recent_.end(), resting) && !settlingGone_ && !relieving_ && index_->idle();
}

void Volume::release() {
  KJ_REQUIRE(!health_.ok() && idle());
  for (Chunk* chunk : recent_) {
    closeFile(*chunk);
  }
  index_->release();
  claimed_.lock = nullptr;
}

Status Volume::fail(const Error& error) {
  if (health_.ok()) {
    health_ = Error{EIO, error.why};
    spdlog::error("{}: out of service: {}", disk_.hostPath("."), error.why);
    failedGate_.open();
  }
  return health_;
}

kj::Promise<void> Volume::whenFailed() {
  return health_.ok() ? failedGate_.wait() : kj::Promise<void>(kj::READY_NOW);
}

void Volume::taskFailed(kj::Exception&& exception) {
  (void)fail(Error{EIO, exception.getDescription().cStr()});
}

}  // namespace cairn
