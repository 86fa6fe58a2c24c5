// LineLimit: so many lines of one kind in a while: what goes wrong with every operation must not fill a disk. Pure.
#pragma once
#include "common/clock.h"

namespace cairn {

class LineLimit {
 public:
  static constexpr Nanos PERIOD = 10 * SECOND;
  static constexpr unsigned LINES_PER_PERIOD = 20;

  // Whether one more may be written now.
  bool take(Nanos now) {
    if (began_ == 0 || now - began_ >= PERIOD) {
      began_ = now;
      lines_ = 0;
    }
    return lines_++ < LINES_PER_PERIOD;
  }

 private:
  Nanos began_ = 0;
  unsigned lines_ = 0;
};

}  // namespace cairn
