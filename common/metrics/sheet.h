// MetricsSheet: what a daemon tells of itself when it is asked, in Prometheus' text format. Made anew for each answer;
// between two of them nothing is kept but the plain counters of who counts.
#pragma once
#include <prometheus/metric_family.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/operation.h"

namespace cairn {

class MetricsSheet {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // Names begin with "cairn_" and carry their unit; those of counters end in "_total".
  void counter(const std::string& name, const char* help, double value, Labels labels = {});
  void gauge(const std::string& name, const char* help, double value, Labels labels = {});
  // In seconds, a bucket an octave.
  void latency(const std::string& name, const char* help, const LatencyHistogram& histogram, Labels labels = {});
  // cairn_<prefix>_operation_seconds and cairn_<prefix>_operation_errors_total, labelled with the kind.
  void operation(const std::string& prefix, const char* kind, const OperationMetric& metric);
  // cairn_build_info, and of the process what it costs the machine.
  void process(const char* program, const std::string& version);

  std::string text() const;

 private:
  prometheus::ClientMetric& add(const std::string& name, const char* help, prometheus::MetricType type, Labels labels);

  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, size_t> places_;  // in families_, by name
};

// Adds what it knows.
using MetricsSource = std::function<void(MetricsSheet&)>;

}  // namespace cairn
