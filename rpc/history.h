// HistoryPoint: how far the masters' history has come, as a chunkserver is told. A chunkserver keeps the newest that it
// has obeyed; whoever lacks that is no master to it: a data directory that has come back from earlier knows nothing of
// the files made since, and would have their chunks deleted.
#pragma once
#include <string>

#include "common/ids.h"
#include "schema/master.capnp.h"

namespace cairn {

// A committed entry. A higher group epoch is a new history: people have begun the group anew, and know what is lost.
struct HistoryPoint {
  GroupEpoch epoch{};
  Term term{};
  uint64_t drawn = 0;  // by who led in that term: a term of the same number in another history drew something else
  LogIndex index{};
  bool operator==(const HistoryPoint&) const = default;
  bool isNone() const { return raw(index) == 0; }
};

constexpr const char* HISTORY_ADVICE =
    "bring back the newest data directory of a master; if that is lost for good, stop this one and run `dfsadmin raft "
    "recover`, which says what is lost";

// Whether what has come to `point` can contain `obeyed`, as far as that can be seen from the two. In one history a
// term begins after everything that was committed before it.
inline bool follows(const HistoryPoint& point, const HistoryPoint& obeyed) {
  if (point.epoch != obeyed.epoch) {
    return point.epoch > obeyed.epoch;
  }
  if (point.term != obeyed.term) {
    return point.term > obeyed.term && point.index > obeyed.index;
  }
  return point.drawn == obeyed.drawn && point.index >= obeyed.index;
}

// "entry 812 of term 6"
inline std::string toText(const HistoryPoint& point) {
  std::string epoch = raw(point.epoch) == 0 ? "" : " of epoch " + toText(point.epoch);
  return "entry " + std::to_string(raw(point.index)) + " of term " + std::to_string(raw(point.term)) + epoch;
}

inline void writeHistory(const HistoryPoint& point, wire::HistoryPoint::Builder out) {
  out.setEpoch(raw(point.epoch));
  out.setTerm(raw(point.term));
  out.setDrawn(point.drawn);
  out.setIndex(raw(point.index));
}

inline HistoryPoint readHistory(wire::HistoryPoint::Reader in) {
  return {GroupEpoch{in.getEpoch()}, Term{in.getTerm()}, in.getDrawn(), LogIndex{in.getIndex()}};
}

}  // namespace cairn
