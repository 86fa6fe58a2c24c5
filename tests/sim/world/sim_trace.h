// What happened in a simulated world, folded into one hash: equal seeds must give equal hashes.
#pragma once
#include <cstdio>
#include <string>

#include "common/checksum.h"
#include "common/clock.h"

namespace cairn {

class SimTrace {
 public:
  void note(Nanos now, const std::string& event) {
    hash_ = hash64(event, hash_ ^ (static_cast<uint64_t>(now) * 0x9e3779b97f4a7c15ull));
    events_++;
    if (printing_) {
      fprintf(stderr, "%10.6f %s\n", static_cast<double>(now) / SECOND, event.c_str());
    }
  }
  uint64_t hash() const { return hash_; }
  uint64_t events() const { return events_; }
  // For following a failing seed by eye.
  void print(bool on) { printing_ = on; }

 private:
  uint64_t hash_ = 0;
  uint64_t events_ = 0;
  bool printing_ = false;
};

}  // namespace cairn
