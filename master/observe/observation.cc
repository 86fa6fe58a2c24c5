#include "master/observe/observation.h"

#include <capnp/message.h>

#include "master/admin_service.h"
#include "master/core.h"

namespace cairn {

void Observation::onOffice(bool leads, const std::string& name) {
  loads = Loads();
  events.forgetLast();
  pointAt_ = 0;
  if (leads) {
    events.add(wallSeconds(), Event::Level::NOTE, "master " + name + " leads");
  }
}

void Observation::look(Core& core) {
  Nanos now = clock_.monotonic();
  if (now - lookedAt_ < LOOK) {
    return;
  }
  lookedAt_ = now;
  loads.forgetOld(now);
  capnp::MallocMessageBuilder message;
  auto status = message.initRoot<wire::ClusterStatus>();
  writeStatus(core, status);
  events.watch(wallSeconds(), status.asReader());
  if (timeline.isDue(now)) {
    TimePoint next = point(core, now);
    timeline.add(next, now, wallSeconds());
  }
}

TimePoint Observation::point(Core& core, Nanos now) {
  LatencyHistogram all;
  uint64_t errors = 0;
  metrics.each([&](const char*, const OperationMetric& metric) {
    all.add(metric.latency);
    errors += metric.errors;
  });
  TimePoint out;
  if (pointAt_ != 0) {
    double seconds = static_cast<double>(now - pointAt_) / SECOND;
    auto perSecond = [seconds](uint64_t count) { return static_cast<double>(count) / seconds; };
    LatencyHistogram recent = all.since(latency_);
    out.metadataPerSecond = perSecond(recent.count());
    out.errorsPerSecond = perSecond(errors - errors_);
    out.readBytesPerSecond = perSecond(loads.bytesRead() - bytesRead_);
    out.writeBytesPerSecond = perSecond(loads.bytesWritten() - bytesWritten_);
    out.metadataP50 = recent.quantile(0.5);
    out.metadataP99 = recent.quantile(0.99);
  }
  out.repairBytesPerSecond = static_cast<double>(core.chunkservers.repair().bytesPerSecond(now));
  out.readP99 = loads.worstP99("read");
  out.writeP99 = loads.worstP99("write");
  pointAt_ = now;
  latency_ = all;
  errors_ = errors;
  bytesRead_ = loads.bytesRead();
  bytesWritten_ = loads.bytesWritten();
  return out;
}

}  // namespace cairn
