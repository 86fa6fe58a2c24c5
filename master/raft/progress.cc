#include "master/raft/progress.h"

#include <algorithm>

namespace cairn::raft {

bool Progress::maySend() const {
  switch (state_) {
    case State::PROBE:
      return !waiting_;
    case State::REPLICATE:
      return flights_.size() < limits_.messagesMax && flightBytes_ < limits_.bytesMax;
    case State::SNAPSHOT:
      return false;
  }
  return false;
}

void Progress::sent(LogIndex last, size_t bytes) {
  if (state_ == State::PROBE) {
    waiting_ = true;
    probeLast_ = last;
    patience_ = PATIENCE;
  } else if (last >= next_) {
    next_ = cairn::next(last);
    flights_.push_back({last, bytes});
    flightBytes_ += bytes;
  }
}

void Progress::readFromDisk(LogIndex last) {
  if (state_ == State::PROBE && waiting_) {
    probeLast_ = std::min(probeLast_, last);
  }
}

void Progress::sentFromDisk(LogIndex last) {
  becomeProbe();
  sent(last, 0);
}

bool Progress::accepted(LogIndex match) {
  bool isNews = match > match_;
  if (isNews) {
    match_ = match;
    patience_ = PATIENCE;
  }
  while (!flights_.empty() && flights_.front().last <= match) {
    flightBytes_ -= flights_.front().bytes;
    flights_.pop_front();
  }
  next_ = std::max(next_, cairn::next(match_));
  bool isProbed = state_ == State::PROBE && (!waiting_ || match >= probeLast_);
  if (isProbed || (state_ == State::SNAPSHOT && match_ >= snapshot_)) {
    state_ = State::REPLICATE;
    waiting_ = false;
    next_ = cairn::next(match_);
    return true;
  }
  return isNews;
}

bool Progress::refused(LogIndex previous, LogIndex agreed) {
  if (state_ == State::REPLICATE) {
    if (previous <= match_) {
      return false;
    }
    becomeProbe();
    return true;
  }
  if (state_ == State::SNAPSHOT || before(next_) != previous) {
    return false;
  }
  next_ = std::max(std::min(previous, cairn::next(agreed)), cairn::next(match_));
  waiting_ = false;
  return true;
}

void Progress::answered(LogIndex arrived) {
  bool hasArrived = arrived >= (flights_.empty() ? probeLast_ : flights_.back().last);
  if (hasArrived && patience_ > 0) {
    patience_--;
    return;
  }
  patience_ = PATIENCE;
  waiting_ = false;
  if (state_ == State::REPLICATE && !maySend() && !flights_.empty()) {
    flightBytes_ -= flights_.front().bytes;
    flights_.pop_front();
  }
}

void Progress::lost(LogIndex agreed) {
  state_ = State::PROBE;
  match_ = std::min(match_, agreed);
  next_ = cairn::next(agreed);
  waiting_ = false;
  flights_.clear();
  flightBytes_ = 0;
}

void Progress::becomeProbe() {
  if (state_ != State::PROBE) {
    state_ = State::PROBE;
    next_ = cairn::next(match_);
  }
  waiting_ = false;
  flights_.clear();
  flightBytes_ = 0;
}

void Progress::becomeSnapshot(LogIndex snapshot) {
  becomeProbe();
  state_ = State::SNAPSHOT;
  snapshot_ = snapshot;
}

void Progress::snapshotEnded(bool arrived) {
  if (state_ == State::SNAPSHOT) {
    becomeProbe();
    next_ = arrived ? std::max(next_, cairn::next(snapshot_)) : next_;
    waiting_ = true;
    patience_ = 0;
  }
}

}  // namespace cairn::raft
