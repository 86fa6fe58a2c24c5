// An index made again while the server's other volumes are served: reads wait on workers, and the loop runs in between.
#include "chunkserver/store/volume.h"
#include "common/log.h"

namespace cairn {

namespace {

// Chunks whose records may wait for the disk together.
constexpr size_t BATCH = 1024;

}  // namespace

Task<Status> Volume::finishOpening() {
  if (!rebuildDue_) {
    co_return Status(health_);
  }
  beginRebuild(*rebuildDue_);
  rebuildDue_.reset();
  auto rebuilt = co_await rebuildAside();
  co_return rebuilt.ok() ? readAll() : rebuilt;
}

Task<Status> Volume::rebuildAside() {
  auto shards = disk_.list("chunks");
  if (!shards.ok()) {
    co_return shards.error();
  }
  size_t found = 0;
  for (auto& name : shards.value()) {
    ShardId shard{};
    if (parseShardName(name, shard)) {
      auto status = co_await rebuildShardAside(name, shard, found);
      if (!status.ok()) {
        co_return status;
      }
    }
  }
  spdlog::warn("{}: {} chunk files taken into the new index", disk_.hostPath("."), found);
  auto retired = rebuildRetired();
  if (!retired.ok()) {
    co_return retired;
  }
  co_return co_await index_->commit();
}

Task<Status> Volume::rebuildShardAside(std::string name, ShardId shard, size_t& found) {
  auto files = disk_.list("chunks/" + name);
  if (!files.ok()) {
    co_return files.error();
  }
  auto front = kj::heapArray<kj::byte>(CHUNK_HEADER_BYTES);
  size_t looked = 0;
  for (auto& file : files.value()) {
    ChunkKey key{shard, {}};
    if (!parseChunkName(file, key.chunk)) {
      continue;
    }
    auto opened = disk_.open(chunkPath(key), Disk::Mode::READ);
    if (!opened.ok()) {
      co_return opened.error();
    }
    auto got = co_await opened.value()->read(0, front);
    if (!got.ok()) {
      co_return got.error();
    }
    takeIn(key, front.slice(0, got.value()), found);
    if (++looked % BATCH == 0) {
      auto committed = co_await index_->commit();
      if (!committed.ok()) {
        co_return committed;
      }
    }
  }
  co_await breathe();
  co_return co_await index_->commit();
}

}  // namespace cairn
