// LatencyHistogram: how long operations took, in buckets that are a quarter of an octave wide, from 16 us to a minute.
// Fixed size; adding one is a few instructions, without a lock or an allocation. Pure.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

#include "common/clock.h"

namespace cairn {

class LatencyHistogram {
 public:
  static constexpr unsigned LOWEST_BITS = 14;  // the first bucket ends at 2^14 ns
  static constexpr unsigned OCTAVES = 22;
  static constexpr unsigned PARTS = 4;  // of an octave
  static constexpr size_t BUCKETS = 1 + OCTAVES * PARTS + 1;

  void add(Nanos took) {
    ++buckets_[bucketOf(took)];
    ++count_;
    sum_ += took > 0 ? static_cast<uint64_t>(took) : 0;
  }

  void add(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  uint64_t sumNanos() const { return sum_; }
  uint64_t inBucket(size_t bucket) const { return buckets_[bucket]; }

  // What the slowest of the fastest `part` (0 to 1) took, at most: the end of a bucket. 0 when there is none.
  Nanos quantile(double part) const;
  // Those added since `earlier` was a copy of this.
  LatencyHistogram since(const LatencyHistogram& earlier) const;

  static size_t bucketOf(Nanos took) {
    if (took < Nanos{1} << LOWEST_BITS) {
      return 0;
    }
    auto nanos = static_cast<uint64_t>(took);
    unsigned width = static_cast<unsigned>(std::bit_width(nanos)) - 1;
    unsigned octave = width - LOWEST_BITS;
    if (octave >= OCTAVES) {
      return BUCKETS - 1;
    }
    return 1 + octave * PARTS + (nanos >> (width - 2)) % PARTS;
  }
  // Its bucket ends before this; of the last one, where it begins.
  static Nanos endOf(size_t bucket);

 private:
  std::array<uint64_t, BUCKETS> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace cairn
