#include "tests/sim/cluster/registers.h"

#include <algorithm>

namespace cairn {

void RegisterHistory::wrote(uint64_t block, uint64_t value, Nanos begin, Nanos end) {
  Value& entry = blocks_[block][value];
  entry.written = true;
  entry.writeBegin = begin;
  entry.firstEnd = std::min(entry.firstEnd, end);
  entry.lastBegin = std::max(entry.lastBegin, begin);
  entry.seen = entry.seen || end != NEVER;
  ++operations_;
}

void RegisterHistory::read(uint64_t block, uint64_t value, Nanos begin, Nanos end) {
  Value& entry = blocks_[block][value];
  entry.firstEnd = std::min(entry.firstEnd, end);
  entry.firstReadEnd = std::min(entry.firstReadEnd, end);
  entry.lastBegin = std::max(entry.lastBegin, begin);
  entry.seen = true;
  ++operations_;
}

std::string RegisterHistory::problem() const {
  struct Zone {
    uint64_t value;
    Nanos from, to;
  };
  for (auto& [block, values] : blocks_) {
    std::vector<Zone> spans, moments;
    for (auto [value, entry] : values) {
      std::string where = "block " + std::to_string(block) + ", value " + std::to_string(value);
      if (value == NOTHING) {
        entry.firstEnd = 0;  // written before anything else
      } else if (!entry.written) {
        return where + ": read, and never written";
      } else if (entry.firstReadEnd < entry.writeBegin) {
        return where + ": read before it was written";
      }
      if (!entry.seen) {
        continue;  // a write without an answer, of which nothing was seen
      }
      if (entry.firstEnd < entry.lastBegin) {
        spans.push_back({value, entry.firstEnd, entry.lastBegin});
      } else {
        moments.push_back({value, entry.lastBegin, entry.firstEnd});
      }
    }
    std::sort(spans.begin(), spans.end(), [](auto& a, auto& b) { return a.from < b.from; });
    for (size_t i = 0; i < spans.size(); ++i) {
      if (i > 0 && spans[i].from < spans[i - 1].to) {
        return "block " + std::to_string(block) + ": value " + std::to_string(spans[i - 1].value) +
               " was seen again after value " + std::to_string(spans[i].value);
      }
      for (auto& moment : moments) {
        if (moment.from > spans[i].from && moment.to < spans[i].to) {
          return "block " + std::to_string(block) + ": value " + std::to_string(moment.value) +
                 " came and went while value " + std::to_string(spans[i].value) + " was seen before and after";
        }
      }
    }
  }
  return {};
}

}  // namespace cairn
