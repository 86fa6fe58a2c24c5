#include "chunkserver/replication/catch_up.h"

#include <kj/debug.h>

#include <iterator>

namespace cairn {

void CatchUp::start(Epoch since) {
  since_ = since;
  cursor_.reset();
  scanned_ = false;
  todo_.clear();
  fetching_.clear();
  dropped_.clear();
  sizes_.clear();
  todoBytes_ = listedBytes_ = 0;
}

uint64_t CatchUp::bytesOf(ChunkId chunk) const {
  auto found = sizes_.find(chunk);
  return found == sizes_.end() ? UNKNOWN_BYTES : found->second;
}

void CatchUp::noteSizes(const PrimaryPage& page) {
  for (auto& [chunk, bytes] : page.sizes) {
    listedBytes_ += bytes;
    if (todo_.count(chunk) != 0 && sizes_.emplace(chunk, bytes).second) {
      todoBytes_ += bytes;
    }
  }
}

void CatchUp::endFetch(ChunkId chunk) {
  fetching_.erase(chunk);
  auto found = sizes_.find(chunk);
  if (found != sizes_.end()) {
    todoBytes_ -= found->second;
    sizes_.erase(found);
  }
}

std::vector<ChunkId> CatchUp::takePage(const PrimaryPage& page, const std::map<ChunkId, LocalChunk>& local) {
  KJ_REQUIRE(!scanned_);
  KJ_REQUIRE(page.end || !cursor_ || *cursor_ < page.last);
  auto inRange = [this, &page](ChunkId chunk) {
    return (!cursor_ || *cursor_ < chunk) && (page.end || chunk <= page.last);
  };
  for (auto& [chunk, digest] : page.changed) {
    auto here = local.find(chunk);
    bool same = here != local.end() && here->second.present && !here->second.suspect && here->second.digest == digest;
    if (inRange(chunk) && !same) {
      todo_.insert(chunk);
    }
  }
  for (ChunkId chunk : page.unchanged) {
    auto here = local.find(chunk);
    bool whole = here != local.end() && here->second.present && !here->second.suspect && !here->second.mayLack;
    bool same = whole && here->second.lastEpoch < since_;
    if (inRange(chunk) && !same) {
      todo_.insert(chunk);
    }
  }
  for (auto it = dropped_.begin(); it != dropped_.end();) {
    if (inRange(*it)) {
      todo_.insert(*it);
      it = dropped_.erase(it);
    } else {
      ++it;
    }
  }
  noteSizes(page);
  std::vector<ChunkId> surplus;
  for (auto& [chunk, here] : local) {
    bool there = page.changed.count(chunk) != 0 || page.unchanged.count(chunk) != 0 || todo_.count(chunk) != 0;
    if (inRange(chunk) && here.present && !there) {
      surplus.push_back(chunk);
    }
  }
  cursor_ = page.last;
  scanned_ = page.end;
  return surplus;
}

std::optional<uint64_t> CatchUp::nextBytes(size_t ahead) const {
  if (ahead >= todo_.size()) {
    return std::nullopt;
  }
  return bytesOf(*std::next(todo_.begin(), static_cast<ptrdiff_t>(ahead)));
}

std::optional<ChunkId> CatchUp::beginFetch() {
  if (todo_.empty()) {
    return std::nullopt;
  }
  ChunkId chunk = *todo_.begin();
  todo_.erase(todo_.begin());
  fetching_.insert(chunk);
  return chunk;
}

void CatchUp::retryFetch(ChunkId chunk) {
  KJ_REQUIRE(fetching_.erase(chunk) == 1);
  todo_.insert(chunk);
}

CatchUp::Action CatchUp::forward(ChunkId chunk) {
  if (fetching_.count(chunk) != 0) {
    return Action::WAIT;
  }
  if (todo_.count(chunk) != 0) {
    return Action::DROP;
  }
  if (scanned_ || (cursor_ && chunk <= *cursor_)) {
    return Action::APPLY;
  }
  dropped_.insert(chunk);
  return Action::DROP;
}

}  // namespace cairn
