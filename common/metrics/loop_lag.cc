#include "common/metrics/loop_lag.h"

#include "common/log.h"

namespace cairn {

LoopLag::LoopLag(Clock& clock) : clock_(clock), tasks_(*this) {
  tasks_.add(watch().promise());
}

Task<void> LoopLag::watch() {
  for (;;) {
    const Nanos due = clock_.monotonic() + PERIOD;
    co_await clock_.after(PERIOD);
    lag_.add(clock_.monotonic() - due);
  }
}

void LoopLag::measure(MetricsSheet& sheet) const {
  sheet.latency("cairn_event_loop_lag_seconds", "How late a timer of the event loop was", lag_);
}

void LoopLag::taskFailed(kj::Exception&& e) {
  spdlog::error("the event loop's lag isn't measured any more: {}", e.getDescription().cStr());
}

}  // namespace cairn
