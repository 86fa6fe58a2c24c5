// LoopLag: how late the event loop is. A timer that is due every PERIOD says how long something else kept the loop.
#pragma once
#include <kj/async.h>

#include "common/clock.h"
#include "common/metrics/sheet.h"
#include "common/task.h"

namespace cairn {

class LoopLag final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos PERIOD = 250 * MILLISECOND;

  explicit LoopLag(Clock& clock);
  void measure(MetricsSheet& sheet) const;

 private:
  Task<void> watch();
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  LatencyHistogram lag_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
