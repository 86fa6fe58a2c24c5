// Observation: what one master knows of how the cluster works, for people to look at: its own counters, what servers
// and clients tell it while it leads, the last hour, events. Nothing is decided by it, and none of it is replicated.
#pragma once
#include <string>

#include "master/observe/events.h"
#include "master/observe/loads.h"
#include "master/observe/master_metrics.h"
#include "master/observe/timeline.h"

namespace cairn {

struct Core;

class Observation {
 public:
  static constexpr Nanos LOOK = SECOND;

  Observation(Clock& clock, Nanos slow) : clock_(clock), slow_(slow) {}

  MasterMetrics metrics;
  Events events;
  Loads loads;
  Timeline timeline;

  // This master begins to lead or leads no longer. What it knew of others' work is old.
  void onOffice(bool leads, const std::string& name);
  // To be called often while it leads: looks at the cluster once in LOOK.
  void look(Core& core);
  // From when on a call is slow; 0: never.
  bool isSlow(Nanos took) const { return slow_ > 0 && took >= slow_; }
  Clock& clock() { return clock_; }
  int64_t wallSeconds() { return clock_.wall() / SECOND; }

 private:
  TimePoint point(Core& core, Nanos now);

  Clock& clock_;
  const Nanos slow_;
  Nanos lookedAt_ = 0;
  // As of the last point.
  Nanos pointAt_ = 0;
  LatencyHistogram latency_;
  uint64_t errors_ = 0;
  uint64_t bytesRead_ = 0;
  uint64_t bytesWritten_ = 0;
};

// What the status page shows. REQUIRES: this master leads.
std::string pageOf(Core& core);

// Of a master, whether it leads or not; of the cluster, when it leads (`core` not null).
class Replica;
void measureMaster(Replica& replica, Core* core, MetricsSheet& sheet);

}  // namespace cairn
