#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {

Task<Status> Volume::sync(ChunkKey key) {
  if (!health_.ok()) {
    co_return Status(health_);
  }
  if (gone_.count(key) > 0) {
    co_return co_await settleGone();
  }
  auto* mark = dirty_.find(key);
  if (mark == nullptr || !mark->unsynced) {
    // Nothing has changed since the last sync, or it was never here.
    co_return Status();
  }
  Pinned chunk(*this, key);
  if (!chunk->loaded) {
    auto loaded = co_await loadInTurn(*chunk);
    if (!loaded.ok()) {
      co_return loaded;
    }
  }
  co_return co_await syncChunk(*chunk);
}

Task<Status> Volume::loadInTurn(Chunk& chunk) {
  TurnQueue::Turn turn(chunk.turns);
  auto status = co_await comeLoaded(chunk, turn);
  co_return status;
}

// The device is asked by a task of the volume, so that a caller who goes away takes no error with it.
Task<Status> Volume::syncChunk(Chunk& chunk) {
  uint64_t want = chunk.version;
  while (health_.ok() && chunk.syncedVersion < want) {
    auto over = chunk.synced.wait();
    if (!chunk.syncing) {
      chunk.syncing = true;
      tasks_.add(runSync(chunk));
    }
    co_await kj::mv(over);
  }
  co_return Status(health_);
}

Task<void> Volume::runSync(Chunk& chunk) {
  Pinned pinned(*this, chunk.key);
  uint64_t upTo = chunk.version;
  Status status;
  if (!chunk.present) {
    // Removed meanwhile: what it was needs no sync.
  } else if (chunk.kind == ChunkKind::FILE) {
    auto synced = co_await syncFile(chunk);
    status = synced;
  } else {
    auto synced = co_await index_->commit();
    status = synced;
  }
  if (status.ok()) {
    chunk.syncedVersion = std::max(chunk.syncedVersion, upTo);
    dirty_.synced(chunk.key, chunk.syncedVersion == chunk.version, clock_.monotonic());
  } else {
    (void)fail(status.error());
  }
  chunk.syncing = false;
  chunk.synced.open();
}

// All small chunks at once. A synced batch covers all before it: LevelDB syncs what it appends to, and the volume's
// Env what LevelDB leaves behind (common/system/leveldb_env.h).
Task<Status> Volume::syncSmall() {
  auto status = co_await index_->commit();
  if (status.ok()) {
    dirty_.smallSynced(index_->lastSynced(), clock_.monotonic());
  }
  co_return status;
}

Task<Status> Volume::syncFile(Chunk& chunk) {
  if (chunk.lost) {
    co_return Status();
  }
  auto file = kj::addRef(*chunk.file);
  uint64_t instance = chunk.instance;
  uint32_t generation = chunk.generation;
  if (chunk.headerStale && chunk.dropUnsynced) {
    // What was dropped must be durable before the header says that it is.
    chunk.dropUnsynced = false;
    counters_.fileSyncs++;
    auto first = co_await file->file->sync();
    if (!first.ok()) {
      co_return first;
    }
  }
  bool wroteHeader = false;
  bool same = chunk.present && chunk.instance == instance;
  if (same && chunk.headerStale) {
    auto written = writeHeader(chunk, *file, generation);
    if (!written.ok()) {
      co_return written;
    }
    wroteHeader = true;
  }
  bool newName = chunk.recordUnsynced;
  bool base = chunk.hasBase;
  kj::Promise<Status> named = Status();
  kj::Promise<Status> recorded = Status();
  if (newName) {
    named = syncNames(chunk.key.shard);
  }
  if (newName && !base) {
    putRecord(chunk);
    recorded = index_->commit();
  }
  counters_.fileSyncs++;
  Nanos began = clock_.monotonic();
  auto synced = co_await file->file->sync();
  gauge_.sync(clock_.monotonic() - began, clock_.monotonic());
  auto namesSynced = co_await kj::mv(named);
  auto recordSynced = co_await kj::mv(recorded);
  for (auto& status : {synced, namesSynced, recordSynced}) {
    if (!status.ok()) {
      co_return Status(status);
    }
  }
  same = chunk.present && chunk.instance == instance;
  if (same && (wroteHeader || chunk.headerWritten)) {
    chunk.headerSlot = 1 - chunk.headerSlot;
    chunk.headerWritten = false;
  }
  if (same && newName) {
    co_return co_await settleFile(chunk, base);
  }
  co_return Status();
}

// The file and its name are durable: from now on a missing file is a lost one, and the small chunk that it grew
// from is history.
Task<Status> Volume::settleFile(Chunk& chunk, bool base) {
  chunk.settled = true;
  chunk.hasBase = false;
  chunk.recordUnsynced = false;
  if (base) {
    index_->erase(indexKey(KeySpace::VALUE, chunk.key));
  }
  putRecord(chunk);
  if (!base) {
    co_return Status();
  }
  co_return co_await index_->commit();
}

Task<Status> Volume::syncNames(ShardId shard) {
  auto files = names_.sync(shardDirectory(shard));
  auto directories = co_await names_.sync("chunks");
  auto status = co_await kj::mv(files);
  co_return status.ok() ? directories : status;
}

Status Volume::writeHeader(Chunk& chunk, OpenFile& file, uint32_t generation) {
  chunk.headerStale = chunk.generation != generation;
  chunk.headerGeneration = generation;
  chunk.headerSequence++;
  auto bytes = encodeHeader(chunk.header(identity().cluster));
  chunk.headerWritten = true;
  return file.file->write(HEADER_SLOT_OFFSETS[1 - chunk.headerSlot], asBytes(bytes));
}

Task<Status> Volume::settleGone() {
  uint64_t want = goneChanges_;
  while (health_.ok() && goneSettledUpTo_ < want) {
    auto over = goneSettled_.wait();
    if (!settlingGone_) {
      settlingGone_ = true;
      tasks_.add(runSettleGone());
    }
    co_await kj::mv(over);
  }
  co_return Status(health_);
}

// Makes removals durable - again, for an unsynced batch may have lost them - and then takes the files away.
Task<void> Volume::runSettleGone() {
  uint64_t upTo = goneChanges_;
  for (auto& entry : gone_) {
    eraseKeys(entry.first, entry.second);
  }
  auto status = co_await index_->commit();
  size_t taken = 0;
  for (auto it = gone_.begin(); status.ok() && it != gone_.end();) {
    ChunkKey key = it->first;
    if (it->second.change <= upTo) {
      if (it->second.hasFile) {
        status = takeAway(key, it->second);
        taken++;
      }
      gone_.erase(it);
    }
    if (taken == UNLINKS_AT_ONCE) {
      taken = 0;
      co_await breathe();
    }
    it = gone_.upper_bound(key);
  }
  if (status.ok()) {
    goneSettledUpTo_ = upTo;
  } else {
    (void)fail(status.error());
  }
  settlingGone_ = false;
  goneSettled_.open();
}

Status Volume::takeAway(ChunkKey key, const Gone& gone) {
  std::string path = chunkPath(key);
  Status status;
  if (gone.retired) {
    status = disk_.rename(path, retiredPath(*gone.retired));
  } else {
    status = gone.keep ? disk_.rename(path, quarantinePath(key)) : disk_.remove(path);
  }
  return status.code() == ENOENT ? Status() : status;
}

}  // namespace cairn
