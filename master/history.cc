#include "master/history.h"

#include <cerrno>

namespace cairn {
namespace {

// The term that the history has at this entry. Of one older than all terms that are kept nothing is known.
bool agrees(const NamespaceReader& reader, const HistoryPoint& obeyed) {
  if (obeyed.index > reader.appliedIndex()) {
    return false;
  }
  bool known = false;
  TermBegin at;
  for (auto& start : reader.terms()) {
    if (start.index <= obeyed.index) {
      at = start;
      known = true;
    }
  }
  return !known || (at.term == obeyed.term && at.drawn == obeyed.drawn);
}

}  // namespace

HistoryPoint historyOf(const NamespaceReader& reader, GroupEpoch epoch) {
  HistoryPoint point{epoch, reader.appliedTerm(), 0, reader.appliedIndex()};
  for (auto& start : reader.terms()) {
    if (start.term == point.term) {
      point.drawn = start.drawn;
    }
  }
  return point;
}

Status checkHistory(const NamespaceReader& reader, GroupEpoch epoch, const HistoryPoint& obeyed,
                    const std::string& master, const std::string& chunkserver) {
  bool isOlder = epoch < obeyed.epoch || (epoch == obeyed.epoch && !agrees(reader, obeyed));
  if (obeyed.isNone() || !isOlder) {
    return {};
  }
  HistoryPoint own = historyOf(reader, epoch);
  return Error{ENOTRECOVERABLE,
               "chunkserver " + chunkserver + " doesn't obey master " + master +
                   ", whose history is shorter than what it has seen: chunkserver " + chunkserver + " has obeyed " +
                   toText(obeyed) + ", master " + master + " has come to " + toText(own) +
                   " without it, so its data directory is of an earlier time"};
}

}  // namespace cairn
