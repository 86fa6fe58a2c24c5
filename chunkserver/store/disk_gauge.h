// DiskGauge: whether a volume's device takes far longer than a sound one does. Pure.
#pragma once
#include <cstdint>

#include "common/clock.h"

namespace cairn {

class DiskGauge {
 public:
  // A read may take this long and one second for each so many bytes; a sync that long in all.
  static constexpr Nanos READ_MAX = 250 * MILLISECOND;
  static constexpr uint64_t BYTES_A_SECOND = 4 << 20;
  static constexpr Nanos SYNC_MAX = 1500 * MILLISECOND;
  // Slow is a disk that took longer with half of its last operations, of which there were so many at least.
  static constexpr unsigned REMEMBERED = 16;
  static constexpr unsigned LEAST = 4;
  static constexpr Nanos FORGOTTEN = 60 * SECOND;

  void read(Nanos took, uint64_t bytes, Nanos now) {
    note(took > READ_MAX + static_cast<Nanos>(bytes * SECOND / BYTES_A_SECOND), now);
  }
  void sync(Nanos took, Nanos now) { note(took > SYNC_MAX, now); }
  bool slow(Nanos now) const {
    unsigned counted = seen_ < REMEMBERED ? seen_ : REMEMBERED;
    auto late = static_cast<unsigned>(__builtin_popcount(late_));
    return counted >= LEAST && now - last_ < FORGOTTEN && 2 * late >= counted;
  }

 private:
  void note(bool late, Nanos now) {
    if (now - last_ >= FORGOTTEN) {
      seen_ = 0;
      late_ = 0;
    }
    late_ = static_cast<uint16_t>(late_ << 1 | (late ? 1 : 0));
    seen_ += seen_ < REMEMBERED ? 1 : 0;
    last_ = now;
  }

  uint16_t late_ = 0;  // one bit for each, the last one lowest
  unsigned seen_ = 0;
  Nanos last_ = 0;
};

}  // namespace cairn
