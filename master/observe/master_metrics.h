// What a master counts of the calls that it serves. Kept by the member, so that it goes on when the office changes.
#pragma once
#include <algorithm>
#include <array>
#include <iterator>

#include "common/metrics/sheet.h"
#include "schema/master.capnp.h"

namespace cairn {

class MasterMetrics {
 public:
  OperationMetric& of(wire::Op::Reader op) { return changes_[std::min<size_t>(op.which(), CHANGES - 1)]; }
  OperationMetric& of(wire::Query::Reader query) { return queries_[std::min<size_t>(query.which(), QUERIES - 1)]; }
  static const char* nameOf(wire::Op::Reader op) { return CHANGE_NAMES[std::min<size_t>(op.which(), CHANGES - 1)]; }
  static const char* nameOf(wire::Query::Reader query) {
    return QUERY_NAMES[std::min<size_t>(query.which(), QUERIES - 1)];
  }
  OperationMetric acquire;
  OperationMetric heartbeat;

  uint64_t slow = 0;  // calls that took long

  // Calls visit(name, metric) for each kind of call of clients.
  template <typename Visit>
  void each(Visit&& visit) const {
    for (size_t i = 0; i < CHANGES; ++i) {
      visit(CHANGE_NAMES[i], changes_[i]);
    }
    for (size_t i = 0; i < QUERIES; ++i) {
      visit(QUERY_NAMES[i], queries_[i]);
    }
    visit("acquire", acquire);
  }
  void measure(MetricsSheet& sheet) const;

 private:
  // In the order of the unions in master.capnp; what a newer client may ask besides is "other".
  static constexpr const char* CHANGE_NAMES[] = {"make",     "link",        "unlink",  "rename", "setAttributes",
                                                 "setXattr", "removeXattr", "written", "lock",   "detach",
                                                 "reserve",  "giveBack",    "otherChange"};
  static constexpr const char* QUERY_NAMES[] = {"lookup",   "getAttributes", "readDirectory", "readLink",
                                                "getXattr", "listXattr",     "space",         "testLock",
                                                "otherQuery"};
  static constexpr size_t CHANGES = std::size(CHANGE_NAMES);
  static constexpr size_t QUERIES = std::size(QUERY_NAMES);

  std::array<OperationMetric, CHANGES> changes_;
  std::array<OperationMetric, QUERIES> queries_;
};

}  // namespace cairn
