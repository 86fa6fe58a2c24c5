#include "fuse-client/client/file_sync.h"

#include <set>

namespace cairn {
namespace {

kj::Promise<void> both(kj::Promise<void> first, kj::Promise<void> second) {
  auto builder = kj::heapArrayBuilder<kj::Promise<void>>(2);
  builder.add(kj::mv(first));
  builder.add(kj::mv(second));
  return kj::joinPromises(builder.finish());
}

}  // namespace

Task<void> FileSync::sync(kj::Own<Inode> inode, bool dataOnly) {
  // Whether the size is to be told is settled now; later writes aren't this call's.
  const uint64_t size = inode->effectiveSize();
  const uint64_t end = size > inode->committed().sizeBytes ? size : 0;
  const uint64_t change = dataOnly ? 0 : inode->report.change;
  const uint64_t truncations = inode->report.truncations;
  auto commit = [this, &inode, size = end, change, truncations]() -> kj::Promise<void> {
    // A truncation meanwhile has told the size that it left: this one would bring back what is cut off.
    const uint64_t end = inode->report.truncations == truncations ? size : 0;
    if (end == 0 && inode->report.reported >= change) {
      return kj::READY_NOW;
    }
    return reporter_.committed(kj::addRef(*inode), end, change).promise();
  };
  if (buffer_.startDurable(*inode)) {
    auto committed = commit();
    auto drained = buffer_.drained(kj::addRef(*inode)).promise();
    co_await both(kj::mv(committed), kj::mv(drained));
    co_return;
  }
  co_await buffer_.drained(kj::addRef(*inode));
  auto committed = commit();
  auto synced = syncKept(kj::addRef(*inode)).promise();
  co_await both(kj::mv(committed), kj::mv(synced));
}

// Until a round in which nothing turned out lost, neither by a sync's answer nor by a new map.
Task<void> FileSync::syncKept(kj::Own<Inode> inode) {
  FileWrites& writes = inode->writes;
  for (unsigned round = 0; round < ROUNDS_MAX; ++round) {
    const uint64_t before = writes.resends;
    co_await buffer_.drained(kj::addRef(*inode));
    Status done = co_await unsynced_.sync(kj::addRef(*inode));
    if (!done.ok()) {
      unsynced_.forget(*inode);
      inode->fail(done.error());
      co_return;
    }
    if (writes.resends == before) {
      co_return;
    }
  }
  unsynced_.forget(*inode);
  inode->fail(Error{EIO, "chunkservers keep losing what they acknowledged"});
}

Task<void> FileSync::syncFrom(std::deque<kj::Own<Inode>>& files) {
  while (!files.empty()) {
    auto inode = kj::mv(files.front());
    files.pop_front();
    co_await sync(kj::mv(inode), false);
  }
}

Task<void> FileSync::syncAll() {
  std::deque<kj::Own<Inode>> files;
  for (auto& inode : inodes_.all()) {
    if (inode->hasLocalChanges() || !inode->writes.unsynced.empty()) {
      files.push_back(kj::mv(inode));
    }
  }
  // All at once where that is cheap: their data is gathered into few messages and their sizes into few operations.
  for (auto& inode : files) {
    buffer_.startDrain(*inode);
  }
  size_t workers = std::min(FILES_PARALLEL_MAX, files.size());
  auto tasks = kj::heapArrayBuilder<kj::Promise<void>>(workers);
  for (size_t i = 0; i < workers; ++i) {
    tasks.add(syncFrom(files).promise());
  }
  co_await kj::joinPromises(tasks.finish());
}

}  // namespace cairn
