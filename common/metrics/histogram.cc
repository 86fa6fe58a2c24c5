#include "common/metrics/histogram.h"

#include <algorithm>
#include <cmath>

namespace cairn {

Nanos LatencyHistogram::endOf(size_t bucket) {
  if (bucket == 0) {
    return Nanos{1} << LOWEST_BITS;
  }
  size_t at = std::min(bucket, BUCKETS - 2) - 1;
  Nanos octave = Nanos{1} << (LOWEST_BITS + at / PARTS);
  return octave + octave / PARTS * static_cast<Nanos>(at % PARTS + 1);
}

Nanos LatencyHistogram::quantile(double part) const {
  if (count_ == 0) {
    return 0;
  }
  auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < BUCKETS; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) {
      return endOf(i);
    }
  }
  return endOf(BUCKETS - 1);
}

void LatencyHistogram::add(const LatencyHistogram& other) {
  for (size_t i = 0; i < BUCKETS; ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  sum_ += other.sum_;
}

LatencyHistogram LatencyHistogram::since(const LatencyHistogram& earlier) const {
  LatencyHistogram out;
  for (size_t i = 0; i < BUCKETS; ++i) {
    out.buckets_[i] = buckets_[i] - earlier.buckets_[i];
  }
  out.count_ = count_ - earlier.count_;
  out.sum_ = sum_ - earlier.sum_;
  return out;
}

}  // namespace cairn
