#include "master/observe/master_metrics.h"

namespace cairn {

void MasterMetrics::measure(MetricsSheet& sheet) const {
  each([&sheet](const char* name, const OperationMetric& metric) { sheet.operation("master", name, metric); });
  sheet.operation("master", "heartbeat", heartbeat);
  sheet.counter("cairn_master_slow_operations_total", "Calls that took longer than --slow-ms",
                static_cast<double>(slow));
}

}  // namespace cairn
