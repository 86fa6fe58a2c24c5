// Log lines about operations that failed for no fault of the program that asked: some, not one for each, so that a
// cluster that is away doesn't fill the disk with them.
#pragma once
#include <string>

#include "common/clock.h"
#include "common/log.h"

namespace cairn {

class FailureLog {
 public:
  explicit FailureLog(Clock& clock) : clock_(clock) {}

  void add(const char* operation, uint64_t inode, const std::string& why) {
    Nanos now = clock_.monotonic();
    if (now - began_ >= PERIOD) {
      if (dropped_ > 0) {
        spdlog::warn("{} more operations failed since then", dropped_);
      }
      began_ = now;
      lines_ = dropped_ = 0;
    }
    if (lines_ >= LINES_PER_PERIOD) {
      dropped_++;
      return;
    }
    lines_++;
    spdlog::warn("{} of inode {}: {}", operation, inode, why);
  }

  uint64_t dropped() const { return dropped_; }

 private:
  static constexpr Nanos PERIOD = 10 * SECOND;
  static constexpr unsigned LINES_PER_PERIOD = 20;

  Clock& clock_;
  Nanos began_ = 0;
  unsigned lines_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace cairn
