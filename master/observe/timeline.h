// Timeline: how busy the cluster was in the last hour, a point each few seconds. In the leader's memory only: the next
// leader begins a new one. Pure.
#pragma once
#include <cstdint>
#include <deque>

#include "common/clock.h"

namespace cairn {

struct TimePoint {
  double metadataPerSecond = 0;  // calls of clients to the master
  double errorsPerSecond = 0;
  double readBytesPerSecond = 0;
  double writeBytesPerSecond = 0;
  double repairBytesPerSecond = 0;
  // Of calls that ended in this step; of reads and writes, the slowest chunkserver's. 0: there were none.
  Nanos metadataP50 = 0;
  Nanos metadataP99 = 0;
  Nanos readP99 = 0;
  Nanos writeP99 = 0;
};

class Timeline {
 public:
  static constexpr Nanos STEP = 5 * SECOND;
  static constexpr size_t POINTS_MAX = 720;  // an hour

  bool isDue(Nanos now) const { return now - lastAt_ >= STEP; }
  void add(TimePoint point, Nanos now, int64_t wallSeconds) {
    if (points_.size() == POINTS_MAX) {
      points_.pop_front();
    }
    points_.push_back(point);
    lastAt_ = now;
    lastWall_ = wallSeconds;
  }
  const std::deque<TimePoint>& points() const { return points_; }  // oldest first
  int64_t endSeconds() const { return lastWall_; }                 // since 1970, of the newest

 private:
  std::deque<TimePoint> points_;
  Nanos lastAt_ = 0;
  int64_t lastWall_ = 0;
};

}  // namespace cairn
