#include "common/metrics/sheet.h"

#include <prometheus/text_serializer.h>

#include <limits>

#include "common/system/process_usage.h"

namespace cairn {
namespace {

double secondsOf(uint64_t nanos) {
  return static_cast<double>(nanos) / SECOND;
}

}  // namespace

prometheus::ClientMetric& MetricsSheet::add(const std::string& name, const char* help, prometheus::MetricType type,
                                            Labels labels) {
  auto [place, isNew] = places_.try_emplace(name, families_.size());
  if (isNew) {
    families_.push_back({name, help, type, {}});
  }
  auto& metrics = families_[place->second].metric;
  metrics.emplace_back();
  for (auto& [key, value] : labels) {
    metrics.back().label.push_back({key, std::move(value)});
  }
  return metrics.back();
}

void MetricsSheet::counter(const std::string& name, const char* help, double value, Labels labels) {
  add(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
}

void MetricsSheet::gauge(const std::string& name, const char* help, double value, Labels labels) {
  add(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
}

void MetricsSheet::latency(const std::string& name, const char* help, const LatencyHistogram& histogram,
                           Labels labels) {
  auto& out = add(name, help, prometheus::MetricType::Histogram, std::move(labels)).histogram;
  out.sample_count = histogram.count();
  out.sample_sum = secondsOf(histogram.sumNanos());
  uint64_t below = histogram.inBucket(0);
  out.bucket.push_back({below, secondsOf(static_cast<uint64_t>(LatencyHistogram::endOf(0)))});
  for (size_t bucket = 1; bucket + 1 < LatencyHistogram::BUCKETS; ++bucket) {
    below += histogram.inBucket(bucket);
    if (bucket % LatencyHistogram::PARTS == 0) {
      out.bucket.push_back({below, secondsOf(static_cast<uint64_t>(LatencyHistogram::endOf(bucket)))});
    }
  }
  out.bucket.push_back({histogram.count(), std::numeric_limits<double>::infinity()});
}

void MetricsSheet::operation(const std::string& prefix, const char* kind, const OperationMetric& metric) {
  latency("cairn_" + prefix + "_operation_seconds", "How long operations took, by kind", metric.latency,
          {{"operation", kind}});
  counter("cairn_" + prefix + "_operation_errors_total", "Operations that failed for a fault of the system",
          static_cast<double>(metric.errors), {{"operation", kind}});
}

void MetricsSheet::process(const char* program, const std::string& version) {
  gauge("cairn_build_info", "Always 1; the labels say what runs", 1, {{"program", program}, {"version", version}});
  ProcessUsage usage = processUsage();
  counter("process_cpu_seconds_total", "Processor time, of the system's calls too", usage.cpuSeconds);
  gauge("process_resident_memory_bytes", "Memory in use", static_cast<double>(usage.residentBytes));
  gauge("process_open_fds", "Open descriptors", static_cast<double>(usage.descriptors));
  gauge("process_start_time_seconds", "When it was started, since 1970", usage.startedSeconds);
}

std::string MetricsSheet::text() const {
  return prometheus::TextSerializer().Serialize(families_);
}

}  // namespace cairn
