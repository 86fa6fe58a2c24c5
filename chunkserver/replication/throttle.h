// Throttle: how fast something may be moved in the background. Either at a set rate, or as fast as users don't feel it:
// the rate falls while their requests take longer than usual and rises while they don't, never below a floor, so that
// repair always ends.
#pragma once
#include "chunkserver/replication/load.h"
#include "common/task.h"

namespace cairn {

struct ThrottleRules {
  uint64_t fixed = 0;  // bytes a second; 0: adaptive
  uint64_t floor = 4ull << 20;
  uint64_t start = 32ull << 20;
  uint64_t ceiling = 4ull << 30;
};

class Throttle {
 public:
  // Requests that take this many times longer than usual slow the background down...
  static constexpr double STRAIN_MAX = 1.5;
  // ... and the rate is looked at again this often.
  static constexpr Nanos LOOK = 200 * MILLISECOND;
  // Users who wait for longer than usual when the rate has been at its floor for so long don't wait for it.
  static constexpr Nanos FLOOR_PATIENCE = 30 * SECOND;
  // What wasn't used may be used at once, up to this much time's worth.
  static constexpr Nanos CREDIT = 100 * MILLISECOND;
  // A small thing costs as much as this.
  static constexpr uint64_t BYTES_MIN = 16 << 10;

  Throttle(Clock& clock, Load& load, ThrottleRules rules)
      : clock_(clock), load_(load), rules_(rules), rate_(rules.fixed != 0 ? rules.fixed : rules.start) {}

  void setRules(ThrottleRules rules);
  // Resolves when `bytes` may be moved, in the order of the calls; after `waitMax` in any case.
  kj::Promise<void> take(uint64_t bytes, Nanos waitMax = 60 * SECOND);
  uint64_t rate() const { return rate_; }

 private:
  void adapt(Nanos now);

  Clock& clock_;
  Load& load_;
  ThrottleRules rules_;
  uint64_t rate_;
  Nanos lookedAt_ = 0;
  Nanos flooredAt_ = 0;  // since when the rate is at its floor; 0: it isn't
  Nanos free_ = 0;  // from when on more may be moved
};

}  // namespace cairn
