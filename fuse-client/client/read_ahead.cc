#include "fuse-client/client/read_ahead.h"

#include <algorithm>

namespace cairn {

bool ReadBudget::take(uint64_t bytes, ReadAhead& reader) {
  const uint64_t most = context_.options.limits.readAheadBytesMax;
  uint64_t& used = context_.stats.readAheadBytes;
  for (auto it = byUse_.begin(); used + bytes > most && it != byUse_.end(); ++it) {
    if (*it != &reader) {
      (*it)->shrink();
    }
  }
  if (used + bytes > most) {
    return false;
  }
  used += bytes;
  return true;
}

void ReadBudget::giveBack(uint64_t bytes) { context_.stats.readAheadBytes -= bytes; }

ReadAhead::ReadAhead(Context& context, ChunkIo& io, ReadBudget& budget, kj::Own<Inode> inode)
    : context_(context), io_(io), budget_(budget), inode_(kj::mv(inode)) {
  place_ = budget_.byUse_.insert(budget_.byUse_.end(), this);
  inode_->readers.push_back(this);
}

ReadAhead::~ReadAhead() noexcept(false) {
  for (auto it = segments_.begin(); it != segments_.end();) {
    it = drop(it);
  }
  budget_.byUse_.erase(place_);
  auto& readers = inode_->readers;
  readers.erase(std::find(readers.begin(), readers.end(), this));
}

std::map<uint64_t, kj::Own<ReadAhead::Segment>>::iterator ReadAhead::drop(
    std::map<uint64_t, kj::Own<Segment>>::iterator it) {
  budget_.giveBack(it->second->length);
  return segments_.erase(it);
}

bool ReadAhead::shrink() {
  bool dropped = false;
  for (auto it = segments_.begin(); it != segments_.end();) {
    if (it->second->done) {
      it = drop(it);
      dropped = true;
    } else {
      ++it;
    }
  }
  return dropped;
}

void ReadAhead::invalidate(uint64_t from, uint64_t to) {
  auto it = segments_.upper_bound(from);
  if (it != segments_.begin()) {
    --it;
  }
  while (it != segments_.end() && it->first < to) {
    if (it->second->end() <= from) {
      ++it;
      continue;
    }
    it->second->stale = true;
    budget_.giveBack(it->second->length);
    if (!it->second->done) {
      bury(kj::mv(it->second));
    }
    it = segments_.erase(it);
  }
}

// Who calls may be the very fetch of the segment, having learned that the file has changed: no task may end itself.
void ReadAhead::bury(kj::Own<Segment> segment) {
  if (buried_.empty()) {
    burial_ = kj::evalLater([this] { buried_.clear(); }).eagerlyEvaluate(nullptr);
  }
  buried_.push_back(kj::mv(segment));
}

void ReadAhead::observe(uint64_t offset, uint64_t length) {
  uint64_t end = offset + length;
  bool inRow = offset <= expected_ + DISORDER_MAX && end + DISORDER_MAX >= expected_;
  bool exact = offset == expected_;
  if (window_ > 0 ? !inRow : !exact) {
    window_ = 0;
    fetchedTo_ = 0;
    shrink();
    expected_ = end;
    return;
  }
  bool first = expected_ == 0;
  while (!segments_.empty() && segments_.begin()->second->end() + DISORDER_MAX < offset) {
    drop(segments_.begin());  // skipped by the reader
  }
  expected_ = std::max(expected_, end);
  if (!first) {
    window_ = std::min(std::max(window_ * 2, WINDOW_FIRST), WINDOW_MAX);
  }
}

void ReadAhead::fetchAhead(uint64_t sizeBytes) {
  if (window_ == 0) {
    return;
  }
  uint64_t start = std::max(expected_ / BLOCK_BYTES * BLOCK_BYTES, fetchedTo_);
  uint64_t stop = std::min(expected_ + window_, (sizeBytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);
  bool toTheEnd = expected_ + window_ >= sizeBytes;
  while (start < stop) {
    uint64_t end = std::min(stop, (start / SEGMENT_BYTES + 1) * SEGMENT_BYTES);
    // Small pieces only at the start of a stream and at the end of the file.
    if (!toTheEnd && end == stop && end - start < std::min(SEGMENT_BYTES, window_ / 2)) {
      return;
    }
    if (segments_.count(start) > 0 || !budget_.take(end - start, *this)) {
      return;
    }
    auto segment = kj::refcounted<Segment>();
    segment->offset = start;
    segment->length = end - start;
    segment->fetched = fetch(*segment).promise().fork();
    segments_[start] = kj::mv(segment);
    fetchedTo_ = start = end;
  }
}

// The segment owns this task, and dropping it ends the task: were it the other way round as well, neither would go
// while no chunkserver answers. An exception reaches whoever waits for the segment.
Task<void> ReadAhead::fetch(Segment& segment) {
  auto slices = co_await io_.read(*inode_, segment.offset, segment.length);
  segment.done = true;
  segment.usable = slices.ok();
  if (slices.ok()) {
    segment.slices = kj::mv(slices).value();
  }
}

std::vector<ReadAhead::Part> ReadAhead::plan(uint64_t offset, uint64_t length) {
  std::vector<Part> parts;
  uint64_t end = offset + length;
  while (offset < end) {
    auto after = segments_.upper_bound(offset);
    bool inside = after != segments_.begin() && std::prev(after)->second->end() > offset;
    if (inside) {
      auto& segment = std::prev(after)->second;
      uint64_t stop = std::min(end, segment->end());
      parts.push_back({offset, stop - offset, kj::addRef(*segment)});
      offset = stop;
    } else {
      uint64_t stop = after == segments_.end() ? end : std::min(end, after->first);
      parts.push_back({offset, stop - offset, {}});
      offset = stop;
    }
  }
  return parts;
}

Task<Result<std::vector<Slice>>> ReadAhead::read(uint64_t offset, uint64_t length, uint64_t sizeBytes) {
  budget_.byUse_.splice(budget_.byUse_.end(), budget_.byUse_, place_);
  auto parts = plan(offset, length);
  observe(offset, length);
  fetchAhead(sizeBytes);
  std::vector<std::vector<Slice>> found(parts.size());
  auto reads = kj::heapArrayBuilder<kj::Promise<Status>>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    reads.add(readPart(parts[i], found[i]).promise());
  }
  auto done = co_await kj::joinPromises(reads.finish());
  std::vector<Slice> out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!done[i].ok()) {
      co_return done[i].error();
    }
    for (auto& slice : found[i]) {
      out.push_back(kj::mv(slice));
    }
  }
  co_return kj::mv(out);
}

Task<Status> ReadAhead::readPart(Part& part, std::vector<Slice>& out) {
  const uint64_t end = part.offset + part.length;
  std::vector<Slice> own;
  const std::vector<Slice>* from = &own;
  if (part.segment.get() != nullptr) {
    if (!part.segment->done) {
      co_await part.segment->fetched.addBranch();
    }
    if (part.segment->usable && !part.segment->stale) {
      from = &part.segment->slices;
    }
  }
  if (from == &own) {
    // Not read ahead, or overwritten meanwhile, or failed: then this read must find out for its own bytes.
    auto read = co_await io_.read(*inode_, part.offset, part.length);
    if (!read.ok()) {
      co_return read.error();
    }
    own = kj::mv(read).value();
  }
  for (auto& slice : *from) {
    uint64_t first = std::max(slice.offset, part.offset);
    uint64_t last = std::min(slice.end(), end);
    if (first < last) {
      out.push_back(slice.part(first, last));
    }
  }
  if (part.segment.get() != nullptr) {
    consume(*part.segment, part.length);
  }
  co_return Status();
}

void ReadAhead::consume(Segment& segment, uint64_t bytes) {
  segment.consumed += bytes;
  auto it = segments_.find(segment.offset);
  if (segment.consumed >= segment.length && it != segments_.end() && it->second.get() == &segment) {
    drop(it);
  }
}

}  // namespace cairn
