// DiskGauge: whether a volume's device takes far longer than a sound one does. Pure.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "common/clock.h"

namespace cairn {

class DiskGauge {
 public:
  // A read may take this long and one second for each so many bytes. Of reads that overlap the time counts once: a
  // disk that is asked a lot is not a slow one.
  static constexpr Nanos READ_MAX = 60 * MILLISECOND;
  static constexpr uint64_t BYTES_A_SECOND = 4 << 20;
  static constexpr Nanos SYNC_MAX = 1500 * MILLISECOND;
  // Slow is a disk whose last operations took longer in all, of which there were so many at least.
  static constexpr unsigned REMEMBERED = 16;
  static constexpr unsigned LEAST = 4;
  // Of one that took very long no more than this counts.
  static constexpr Nanos OUTLIER_TIMES = 4;
  static constexpr Nanos FORGOTTEN = 60 * SECOND;

  void read(Nanos took, uint64_t bytes, Nanos now) {
    Nanos busy = now - std::max(now - took, reads_.last);
    reads_.note(busy, READ_MAX + static_cast<Nanos>(bytes * SECOND / BYTES_A_SECOND), now);
  }
  void sync(Nanos took, Nanos now) { syncs_.note(took, SYNC_MAX, now); }
  bool slow(Nanos now) const { return reads_.slow(now) || syncs_.slow(now); }

 private:
  struct Recent {
    std::array<Nanos, REMEMBERED> over{};  // what each took beyond what it may; less is less than nothing
    unsigned seen = 0;
    Nanos last = 0;

    void note(Nanos took, Nanos allowed, Nanos now) {
      seen = now - last < FORGOTTEN ? seen : 0;
      over[seen++ % REMEMBERED] = std::min(took - allowed, allowed * OUTLIER_TIMES);
      last = now;
    }
    bool slow(Nanos now) const {
      Nanos sum = 0;
      for (unsigned i = 0; i < std::min(seen, REMEMBERED); ++i) {
        sum += over[i];
      }
      return seen >= LEAST && now - last < FORGOTTEN && sum > 0;
    }
  };
  Recent reads_;
  Recent syncs_;
};

}  // namespace cairn
