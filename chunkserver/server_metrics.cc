#include "chunkserver/server_metrics.h"

namespace cairn {

void ServerMetrics::measure(MetricsSheet& sheet) const {
  each([&sheet](const char* name, const OperationMetric& metric) { sheet.operation("chunkserver", name, metric); });
  sheet.counter("cairn_chunkserver_read_bytes_total", "Sent to clients", static_cast<double>(bytesRead));
  sheet.counter("cairn_chunkserver_written_bytes_total", "Taken from clients", static_cast<double>(bytesWritten));
  sheet.counter("cairn_chunkserver_forwarded_bytes_total", "Taken from primaries", static_cast<double>(bytesForwarded));
  sheet.counter("cairn_chunkserver_slow_operations_total", "Calls that took longer than --slow-ms",
                static_cast<double>(slow));
}

void ServerMetrics::closeWindow(Nanos now) {
  size_t i = 0;
  each([&](const char*, const OperationMetric& metric) {
    windows_[i].p99 = metric.latency.since(windows_[i].begin).quantile(0.99);
    windows_[i++].begin = metric.latency;
  });
  windowAt_ = now;
}

void ServerMetrics::fill(wire::ServerLoad::Builder out, Nanos now) {
  if (now - windowAt_ >= WINDOW) {
    closeWindow(now);
  }
  out.setBytesRead(bytesRead);
  out.setBytesWritten(bytesWritten);
  out.setSlow(slow);
  auto list = out.initOperations(KINDS);
  unsigned i = 0;
  each([&](const char* name, const OperationMetric& metric) {
    list[i].setKind(name);
    list[i].setCount(metric.latency.count());
    list[i].setErrors(metric.errors);
    list[i].setNanos(metric.latency.sumNanos());
    list[i].setP99Nanos(static_cast<uint64_t>(windows_[i].p99));
    ++i;
  });
}

}  // namespace cairn
