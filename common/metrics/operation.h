// What a daemon counts of one kind of operation, and the timer that counts it. The timer lives in the frame of the
// operation: it counts when that ends, however it ends, and knows which part of the way took how long.
#pragma once
#include <array>
#include <string>

#include "common/clock.h"
#include "common/metrics/histogram.h"

namespace cairn {

struct OperationMetric {
  uint64_t errors = 0;
  LatencyHistogram latency;
};

// From when on an operation is worth a line in the log. 0: never.
constexpr Nanos SLOW_DEFAULT = SECOND;

class OperationTimer {
 public:
  static constexpr size_t STAGES_MAX = 4;

  OperationTimer(OperationMetric& metric, Clock& clock) : metric_(metric), clock_(clock), began_(clock.monotonic()) {}
  OperationTimer(const OperationTimer&) = delete;
  ~OperationTimer() {
    metric_.latency.add(clock_.monotonic() - began_);
    metric_.errors += failed_;
  }

  void fail(bool failed = true) { failed_ = failed; }
  Nanos elapsed() const { return clock_.monotonic() - began_; }
  // What came since the stage before, or since the beginning, was this. Later calls beyond STAGES_MAX are left out.
  void stage(const char* name) {
    if (stages_ < STAGES_MAX) {
      names_[stages_] = name;
      ends_[stages_++] = clock_.monotonic();
    }
  }
  // "waiting for others 12 ms, log 840 ms"
  std::string path() const;

 private:
  OperationMetric& metric_;
  Clock& clock_;
  const Nanos began_;
  bool failed_ = false;
  size_t stages_ = 0;
  std::array<const char*, STAGES_MAX> names_{};
  std::array<Nanos, STAGES_MAX> ends_{};
};

// "850 ms", "12.3 s"
std::string milliseconds(Nanos time);

}  // namespace cairn
