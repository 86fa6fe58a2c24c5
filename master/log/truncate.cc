// Taking entries away from a log: its end, which a later leader contradicts, or all of it, when a snapshot takes its
// place. Either begins a segment whose header says so; that header is the one write that decides.
#include <kj/debug.h>

#include <algorithm>

#include "master/log/log.h"

namespace cairn {

Task<Status> Log::truncate(LogIndex from) {
  KJ_REQUIRE(last_ == durable_ && from >= firstIndex(), raw(from), raw(last_), raw(durable_));
  if (from > last_) {
    co_return Status();
  }
  auto ready = co_await segmentReady();
  if (!ready.ok()) {
    co_return ready;
  }
  LogIndex last{raw(from) - 1};
  auto place = findPlace(disk_, options_, segments_, last);
  Status lowered = place.ok() ? marker_->lower(last) : Status(place.error());
  if (!lowered.ok()) {
    fail(lowered.error());
    co_return lowered;
  }
  cutAfter(segments_, place.value());
  last_ = durable_ = last;
  chain_ = place.value().chain;
  while (!terms_.empty() && terms_.back().first > last_) {
    terms_.pop_back();
  }
  co_return co_await beginSegment(0);
}

Task<Status> Log::reset(LogIndex index, Term term) {
  KJ_REQUIRE(last_ == durable_, raw(last_), raw(durable_));
  auto ready = co_await segmentReady();
  if (!ready.ok()) {
    co_return ready;
  }
  auto lowered = marker_->lower(LogIndex{});
  if (!lowered.ok()) {
    fail(lowered.error());
    co_return lowered;
  }
  last_ = durable_ = index;
  chain_ = 0;
  terms_.assign(1, {term, index});
  auto begun = co_await beginSegment(SegmentHeader::RESET);
  if (begun.ok()) {
    for (size_t i = 0; i + 1 < segments_.size(); ++i) {
      dropped_.push_back(segments_[i].number);
    }
    segments_.erase(segments_.begin(), segments_.end() - 1);
    terms_.clear();
    truncatePrefix(LogIndex{});
  }
  co_return begun;
}

// The next segment, with a durable header. REQUIRES: it is ready.
Task<Status> Log::beginSegment(uint32_t flags) {
  auto begun = co_await nextSegment(next(last_));
  if (!begun.ok()) {
    co_return begun;
  }
  segments_.back().flags = flags;
  auto written = writeHeader();
  if (written.ok()) {
    written = co_await active_->sync();
  }
  if (!written.ok()) {
    fail(written.error());
  }
  co_return written;
}

}  // namespace cairn
