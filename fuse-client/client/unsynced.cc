#include "fuse-client/client/unsynced.h"

#include <algorithm>
#include <map>
#include <set>

#include "common/log.h"

namespace cairn {

namespace {

// Some volume that acknowledged it hasn't restarted since, and is still in sync. (Whether it has been so all the time
// is seen at the next sync.)
bool isVouchedFor(const ShardMap& map, const ShardRecord* shard, const Verifiers& acknowledged) {
  return shard == nullptr || std::any_of(acknowledged.list.begin(), acknowledged.list.end(), [&](auto& one) {
    const ServerRecord* server = map.serverOf(one.volume);
    return server != nullptr && server->incarnation == one.incarnation && shard->isInSync(one.volume);
  });
}

// The file as it is, or was, in one object.
class OneObject final : public ChunkFile {
 public:
  OneObject(Inode& inode, ObjectId object, ClassId cls) : inode_(inode), layout_(inode.layout()) {
    layout_.object = object;
    layout_.cls = cls;
  }
  InodeId inode() const override { return inode_.id; }
  const Layout& layout() const override {
    return inode_.layout().object == layout_.object ? inode_.layout() : layout_;
  }
  void describe(wire::Target::Builder target) const override { inode_.describe(target); }
  Nanos layoutAgeNanos() const override { return 0; }
  Task<Status> refreshLayout() override { return inode_.refreshLayout(); }

 private:
  Inode& inode_;
  Layout layout_;
};

}  // namespace

Unsynced::Unsynced(Context& context, ChunkIo& io) : context_(context), io_(io), tasks_(*this) {}

void Unsynced::taskFailed(kj::Exception&& e) {
  spdlog::error("syncing in the background failed: {}", kj::str(e).cStr());
}

void Unsynced::keep(Inode& inode, Extent extent) {
  FileWrites& writes = inode.writes;
  newest_ = std::max(newest_, extent.acknowledged->order);
  context_.stats.unsyncedBytes -= writes.unsynced.bytes();
  writes.unsynced.put(kj::mv(extent));
  context_.stats.unsyncedBytes += writes.unsynced.bytes();
  if (!writes.listedUnsynced) {
    writes.listedUnsynced = true;
    files_.push_back(kj::addRef(inode));
    if (files_.size() > pruneAt_) {
      prune();
    }
    if (!watching_) {
      watching_ = true;
      tasks_.add(watch().promise());
    }
  }
  startBackground(threshold());
}

// Takes files off the list that have nothing kept any more.
void Unsynced::prune() {
  for (size_t left = files_.size(); left > 0; --left) {
    auto inode = kj::mv(files_.front());
    files_.pop_front();
    if (inode->writes.unsynced.empty()) {
      inode->writes.listedUnsynced = false;
    } else {
      files_.push_back(kj::mv(inode));
    }
  }
  pruneAt_ = std::max(PRUNE_FIRST, 2 * files_.size());
}

void Unsynced::drop(Inode& inode, uint64_t from, uint64_t to) {
  ExtentMap& kept = inode.writes.unsynced;
  context_.stats.unsyncedBytes -= kept.bytes();
  kept.erase(from, to);
  context_.stats.unsyncedBytes += kept.bytes();
  inode.noteSafety();
}

bool Unsynced::hasRoom(uint64_t bytes) const {
  uint64_t kept = context_.stats.unsyncedBytes;
  return kept == 0 || kept + bytes <= context_.options.limits.unsyncedBytesMax;
}

void Unsynced::forget(Inode& inode) { drop(inode, 0, UINT64_MAX); }

std::vector<kj::Own<Inode>> Unsynced::files() const {
  std::vector<kj::Own<Inode>> out;
  for (auto& inode : files_) {
    out.push_back(kj::addRef(*const_cast<Inode*>(inode.get())));
  }
  return out;
}

// From three quarters on, so that writers needn't stop while syncs keep pace.
uint64_t Unsynced::threshold() const { return context_.options.limits.unsyncedBytesMax / 4 * 3; }

void Unsynced::startBackground(uint64_t beyond) {
  for (size_t left = files_.size(); left > 0 && syncing_ < FILES_PARALLEL_MAX; --left) {
    if (context_.stats.unsyncedBytes <= beyond) {
      return;
    }
    auto inode = kj::mv(files_.front());
    files_.pop_front();
    FileWrites& writes = inode->writes;
    if (writes.unsynced.empty()) {
      writes.listedUnsynced = false;
      continue;
    }
    if (!writes.syncing) {
      writes.syncing = true;
      ++syncing_;
      tasks_.add(background(kj::addRef(*inode)).promise());
    }
    files_.push_back(kj::mv(inode));
  }
}

Task<void> Unsynced::background(kj::Own<Inode> inode) {
  Status done = co_await sync(kj::addRef(*inode));
  if (!done.ok()) {
    inode->fail(done.error());
    forget(*inode);
  }
  --syncing_;
  inode->writes.syncing = false;
  resender_->roomMade();
  startBackground(threshold());
}

Task<Status> Unsynced::sync(kj::Own<Inode> inode) {
  Round round;
  std::set<uint32_t> chunks;
  const uint8_t bits = inode->layout().chunkBits;
  for (auto& [offset, extent] : inode->writes.unsynced.extents()) {
    for (uint64_t at = offset >> bits; at <= (extent.end() - 1) >> bits; ++at) {
      chunks.insert(static_cast<uint32_t>(at));
    }
  }
  round.chunks.assign(chunks.begin(), chunks.end());
  size_t workers = std::min(PARALLEL_MAX, round.chunks.size());
  auto tasks = kj::heapArrayBuilder<kj::Promise<void>>(workers);
  for (size_t i = 0; i < workers; ++i) {
    tasks.add(syncNext(*inode, round).promise());
  }
  co_await kj::joinPromises(tasks.finish());
  co_return round.failed;
}

Task<void> Unsynced::syncNext(Inode& inode, Round& round) {
  while (round.next < round.chunks.size() && round.failed.ok()) {
    uint32_t chunk = round.chunks[round.next++];
    Status done = co_await syncChunk(inode, chunk);
    if (!done.ok()) {
      round.failed = done;
    }
  }
}

// What acknowledged bytes keeps vouching for them when they have been copied into another object: they were in the old
// one then, if it has never lost them, and the copy is durable.
Task<Status> Unsynced::syncChunk(Inode& inode, uint32_t chunk) {
  const uint64_t from = uint64_t{chunk} << inode.layout().chunkBits;
  const uint64_t to = uint64_t{chunk + 1} << inode.layout().chunkBits;
  std::map<ObjectId, ClassId> objects;
  for (auto& piece : inode.writes.unsynced.slices(from, to)) {
    objects[piece.acknowledged->object] = piece.acknowledged->cls;
  }
  for (auto& [object, cls] : objects) {
    Status done = co_await syncObject(inode, chunk, object, cls);
    if (!done.ok()) {
      co_return done;
    }
  }
  co_return Status();
}

Task<Status> Unsynced::syncObject(Inode& inode, uint32_t chunk, ObjectId object, ClassId cls) {
  // Only what was acknowledged before the sync left is covered by it.
  const uint64_t order = newest_;
  const uint64_t from = uint64_t{chunk} << inode.layout().chunkBits;
  const uint64_t to = uint64_t{chunk + 1} << inode.layout().chunkBits;
  if (!inode.hasBytesOf(object)) {
    dropOf(inode, from, to, object);  // truncated to nothing
    co_return Status();
  }
  OneObject file(inode, object, cls);
  auto reply = co_await io_.sync(file, chunk);
  if (!reply.ok()) {
    if (reply.code() == ESTALE) {
      dropOf(inode, from, to, object);  // removed or truncated to nothing
      co_return Status();
    }
    co_return reply.error();
  }
  const Verifiers& synced = *reply.value().verifiers;
  for (auto& piece : inode.writes.unsynced.slices(from, to)) {
    if (piece.acknowledged->order > order || piece.acknowledged->object != object) {
      continue;
    }
    if (piece.acknowledged->shares(synced)) {
      drop(inode, piece.offset, piece.end());
    } else {
      sendAgain(inode, kj::mv(piece));
    }
  }
  co_return Status();
}

void Unsynced::dropOf(Inode& inode, uint64_t from, uint64_t to, ObjectId object) {
  for (auto& piece : inode.writes.unsynced.slices(from, to)) {
    if (piece.acknowledged->object == object) {
      drop(inode, piece.offset, piece.end());
    }
  }
}

Task<void> Unsynced::watch() {
  KJ_DEFER(watching_ = false);
  while (!files_.empty()) {
    co_await context_.clock.after(LAYOUT_TRUST);
    for (auto& inode : files()) {
      if (inode->layoutAgeNanos() > LAYOUT_TRUST) {
        Status asked = co_await inode->refreshLayout();
        if (!asked.ok()) {
          spdlog::debug("inode {} with bytes not synced yet: {}", raw(inode->id), asked.error().why);
        }
      }
    }
    prune();
  }
}

void Unsynced::sendAgain(Inode& inode, Extent lost) {
  context_.stats.bytesResent += lost.length;
  spdlog::warn("no server that acknowledged {} bytes at {} of inode {} still vouches for them: sent again", lost.length,
               lost.offset, raw(inode.id));
  ++inode.writes.resends;
  drop(inode, lost.offset, lost.end());
  resender_->resend(inode, kj::mv(lost));
}

void Unsynced::mapChanged(const ShardMap& map) {
  for (auto& inode : files()) {
    const Layout& layout = inode->layout();
    uint64_t chunkBytes = uint64_t{1} << layout.chunkBits;
    std::vector<Extent> lost;
    for (auto& whole : inode->writes.unsynced.slices(0, UINT64_MAX)) {
      for (uint64_t from = whole.offset; from < whole.end();) {
        uint64_t to = std::min(whole.end(), (from / chunkBytes + 1) * chunkBytes);
        const Verifiers& by = *whole.acknowledged;
        ChunkId chunk{by.object, static_cast<uint32_t>(from / chunkBytes)};
        if (inode->hasBytesOf(by.object) && !isVouchedFor(map, map.shard(by.cls, chunk), by)) {
          lost.push_back(whole.slice(from, to));
        }
        from = to;
      }
    }
    for (auto& piece : lost) {
      sendAgain(*inode, kj::mv(piece));
    }
  }
}

}  // namespace cairn
