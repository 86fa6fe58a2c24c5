#include "fuse-client/client/unsynced.h"

#include <algorithm>
#include <set>

#include "common/log.h"

namespace cairn {

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
  }
  startBackground();
}

void Unsynced::drop(Inode& inode, uint64_t from, uint64_t to) {
  ExtentMap& kept = inode.writes.unsynced;
  context_.stats.unsyncedBytes -= kept.bytes();
  kept.erase(from, to);
  context_.stats.unsyncedBytes += kept.bytes();
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

void Unsynced::startBackground() {
  // From three quarters on, so that writers needn't stop while syncs keep pace.
  const uint64_t begin = context_.options.limits.unsyncedBytesMax / 4 * 3;
  while (context_.stats.unsyncedBytes > begin && !files_.empty() && syncing_ < FILES_PARALLEL_MAX) {
    auto inode = kj::mv(files_.front());
    files_.pop_front();
    inode->writes.listedUnsynced = false;
    if (!inode->writes.unsynced.empty()) {
      ++syncing_;
      tasks_.add(background(kj::mv(inode)).promise());
    }
  }
}

Task<void> Unsynced::background(kj::Own<Inode> inode) {
  bool resent = false;
  Status done = co_await sync(kj::addRef(*inode), resent);
  if (!done.ok()) {
    inode->fail(done.error());
    forget(*inode);
  }
  --syncing_;
  if (!inode->writes.unsynced.empty() && !inode->writes.listedUnsynced) {
    inode->writes.listedUnsynced = true;
    files_.push_back(kj::mv(inode));
  }
  resender_->roomMade();
  startBackground();
}

Task<Status> Unsynced::sync(kj::Own<Inode> inode, bool& resent) {
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
  resent = round.resent;
  co_return round.failed;
}

Task<void> Unsynced::syncNext(Inode& inode, Round& round) {
  while (round.next < round.chunks.size() && round.failed.ok()) {
    uint32_t chunk = round.chunks[round.next++];
    Status done = co_await syncChunk(inode, chunk, round.resent);
    if (!done.ok()) {
      round.failed = done;
    }
  }
}

Task<Status> Unsynced::syncChunk(Inode& inode, uint32_t chunk, bool& resent) {
  // Only what was acknowledged before the sync left is covered by it.
  const uint64_t order = newest_;
  const uint64_t from = uint64_t{chunk} << inode.layout().chunkBits;
  const uint64_t to = uint64_t{chunk + 1} << inode.layout().chunkBits;
  auto reply = co_await io_.sync(inode, chunk);
  if (!reply.ok()) {
    if (reply.code() == ESTALE) {
      drop(inode, from, to);  // removed or truncated to nothing
      co_return Status();
    }
    co_return reply.error();
  }
  const Verifiers& synced = *reply.value().verifiers;
  uint64_t lost = 0;
  for (auto& piece : inode.writes.unsynced.slices(from, to)) {
    if (piece.acknowledged->order > order) {
      continue;
    }
    drop(inode, piece.offset, piece.end());
    if (!piece.acknowledged->shares(synced)) {
      lost += piece.length;
      resent = true;
      resender_->resend(inode, kj::mv(piece));
    }
  }
  if (lost > 0) {
    context_.stats.bytesResent += lost;
    spdlog::warn("no server that acknowledged {} bytes of inode {} still vouches for them: sent again", lost,
                 raw(inode.id));
  }
  co_return Status();
}

}  // namespace cairn
