// What a chunkserver counts of the calls that it serves.
#pragma once
#include <array>

#include "common/metrics/line_limit.h"
#include "common/metrics/sheet.h"
#include "schema/observe.capnp.h"

namespace cairn {

class ServerMetrics {
 public:
  static constexpr Nanos WINDOW = 5 * SECOND;  // of the percentiles that the master is told of

  // Of clients; then of other chunkservers.
  OperationMetric read, write, sync, punch, allocated;
  OperationMetric forward, memberSync, fetch, install;
  uint64_t bytesRead = 0;
  uint64_t bytesWritten = 0;  // by clients; what is forwarded to this server is not counted
  uint64_t bytesForwarded = 0;
  uint64_t slow = 0;
  LineLimit slowLines;

  // Calls visit(name, metric) for each.
  template <typename Visit>
  void each(Visit&& visit) const {
    visit("read", read);
    visit("write", write);
    visit("sync", sync);
    visit("punch", punch);
    visit("allocated", allocated);
    visit("forward", forward);
    visit("memberSync", memberSync);
    visit("fetch", fetch);
    visit("install", install);
  }
  void measure(MetricsSheet& sheet) const;
  // What the master is told with each heartbeat.
  void fill(wire::ServerLoad::Builder out, Nanos now);

 private:
  static constexpr size_t KINDS = 9;
  struct Window {
    LatencyHistogram begin;
    Nanos p99 = 0;
  };
  void closeWindow(Nanos now);

  std::array<Window, KINDS> windows_;
  Nanos windowAt_ = 0;
};

}  // namespace cairn
