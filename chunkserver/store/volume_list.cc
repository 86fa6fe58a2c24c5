#include <cerrno>

#include "chunkserver/store/codec.h"
#include "chunkserver/store/volume.h"

namespace cairn {

namespace {

ChunkSummary summaryOf(ChunkId chunk, const ChunkRecord& record) {
  ChunkSummary out;
  out.chunk = chunk;
  out.present = true;
  out.digest = record.digest;
  out.lastEpoch = record.lastEpoch;
  out.chunkBits = record.chunkBits;
  out.generation = record.generation;
  out.lengthBytes = record.lengthBlocks * BLOCK_BYTES;
  out.allocatedBytes = record.allocatedBlocks * BLOCK_BYTES;
  return out;
}

}  // namespace

Task<Result<ChunkPage>> Volume::enumerate(ShardId shard, Epoch since, const ChunkId* after, uint32_t limit) {
  ChunkPage page;
  std::string from =
      after == nullptr ? indexKey(KeySpace::RECORD, shard) : indexKey(KeySpace::RECORD, ChunkKey{shard, *after}) + '\0';
  while (!page.end && page.chunks.size() < limit) {
    std::vector<std::pair<ChunkId, ChunkRecord>> found;
    auto status = scanSome(shard, since, limit - page.chunks.size(), from, found, page.end);
    if (!status.ok()) {
      co_return status.error();
    }
    bool fresh = true;  // nobody else ran since the scan
    for (auto& [chunk, record] : found) {
      ChunkKey key{shard, chunk};
      if (dirty_.find(key) == nullptr && fresh) {
        page.chunks.push_back(summaryOf(chunk, record));
        continue;
      }
      if (dirty_.find(key) == nullptr) {
        auto now = recordNow(key);
        if (!now.ok()) {
          co_return now.error();
        }
        if (now.value()) {
          page.chunks.push_back(summaryOf(chunk, *now.value()));
        }
        continue;
      }
      fresh = false;
      auto summarized = co_await summary(key);
      if (!summarized.ok()) {
        co_return summarized.error();
      }
      if (summarized.value().present) {
        page.chunks.push_back(summarized.value());
      }
    }
    co_await breathe();
  }
  co_return kj::mv(page);
}

Result<std::optional<ChunkRecord>> Volume::recordNow(ChunkKey key) {
  auto value = index_->get(indexKey(KeySpace::RECORD, key));
  if (!value.ok()) {
    return value.error();
  }
  if (!value.value()) {
    return std::optional<ChunkRecord>();
  }
  auto record = decodeRecord(*value.value());
  if (!record.ok()) {
    Index::markDamaged(disk_);
    return fail(record.error()).error();
  }
  return std::optional<ChunkRecord>(std::move(record.value()));
}

// At most SCAN_RECORDS records from `from`, which it moves on; those asked for go to `found`.
Status Volume::scanSome(ShardId shard, Epoch since, size_t limit, std::string& from,
                        std::vector<std::pair<ChunkId, ChunkRecord>>& found, bool& end) {
  size_t seen = 0;
  bool stopped = false;
  Status wrong;
  std::string to = afterPrefix(indexKey(KeySpace::RECORD, shard));
  auto status = index_->scan(from, to, [&](std::string_view key, std::string_view value) {
    if (seen == SCAN_RECORDS || found.size() == limit) {
      from = key;
      stopped = true;
      return false;
    }
    seen++;
    ChunkKey chunk = chunkOfKey(key);
    auto record = decodeRecord(value);
    if (!record.ok()) {
      wrong = record.error();
      return false;
    }
    if (record.value().lastEpoch >= since || dirty_.find(chunk) != nullptr) {
      found.emplace_back(chunk.chunk, std::move(record.value()));
    }
    return true;
  });
  if (!wrong.ok()) {
    Index::markDamaged(disk_);
    return fail(wrong.error());
  }
  end = !stopped;
  return status;
}

Result<std::vector<ChunkId>> Volume::chunksOf(ShardId shard, ObjectId object) {
  std::vector<ChunkId> out;
  std::string prefix = indexKey(KeySpace::RECORD, shard, object);
  auto status = index_->scan(prefix, afterPrefix(prefix), [&out](std::string_view key, std::string_view) {
    out.push_back(chunkOfKey(key).chunk);
    return true;
  });
  if (!status.ok()) {
    return status.error();
  }
  return out;
}

Result<std::vector<ChunkKey>> Volume::badChunks(uint32_t limit) {
  std::vector<ChunkKey> out;
  for (auto& entry : badBlocks_) {
    if (out.size() == limit) {
      break;
    }
    out.push_back(entry.first);
  }
  return out;
}

Result<std::vector<ShardId>> Volume::shards() {
  std::set<ShardId> found;
  for (auto& entry : inSync_) {
    found.insert(entry.first);
  }
  std::string from(1, static_cast<char>(KeySpace::RECORD));
  std::string to = afterPrefix(from);
  for (bool more = true; more;) {
    more = false;
    auto status = index_->scan(from, to, [&](std::string_view key, std::string_view) {
      ShardId shard = chunkOfKey(key).shard;
      found.insert(shard);
      more = raw(shard) != UINT32_MAX;
      from = more ? afterPrefix(indexKey(KeySpace::RECORD, shard)) : from;
      return false;
    });
    if (!status.ok()) {
      return status.error();
    }
  }
  return std::vector<ShardId>(found.begin(), found.end());
}

Epoch Volume::inSync(ShardId shard) const {
  auto found = inSync_.find(shard);
  return found == inSync_.end() ? Epoch{} : found->second;
}

Task<Status> Volume::setInSync(std::vector<InSyncMark> marks) {
  for (auto& mark : marks) {
    auto key = indexKey(KeySpace::IN_SYNC, mark.shard);
    if (mark.epoch == Epoch{}) {
      index_->erase(key);
    } else {
      index_->put(key, encodeIndexNumber(raw(mark.epoch)));
    }
  }
  auto status = co_await index_->commit();
  if (!status.ok()) {
    co_return status;
  }
  for (auto& mark : marks) {
    if (mark.epoch == Epoch{}) {
      inSync_.erase(mark.shard);
    } else {
      inSync_[mark.shard] = mark.epoch;
    }
  }
  co_return Status();
}

}  // namespace cairn
