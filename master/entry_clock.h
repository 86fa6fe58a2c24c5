// EntryClock: the time in a leader's entries.
#pragma once
#include <algorithm>

#include "common/clock.h"
#include "master/namespace/records.h"
#include "schema/log.capnp.h"

namespace cairn {

// That of the wall, but never earlier than an entry before.
class EntryClock {
 public:
  explicit EntryClock(Clock& clock) : clock_(clock) {}

  // An entry of another leader, or of an earlier run, has this time.
  void passed(Timestamp time) { last_ = std::max(last_, time); }
  void stamp(wire::Time::Builder out) {
    Nanos now = clock_.wall();
    int64_t seconds = now / SECOND - (now % SECOND < 0 ? 1 : 0);
    passed({seconds, static_cast<uint32_t>(now - seconds * SECOND)});
    out.setSeconds(last_.seconds);
    out.setNanos(last_.nanos);
  }

 private:
  Clock& clock_;
  Timestamp last_;
};

}  // namespace cairn
