#include "chunkserver/replication/throttle.h"

#include <algorithm>

namespace cairn {

void Throttle::setRules(ThrottleRules rules) {
  rules_ = rules;
  rate_ = rules.fixed != 0 ? rules.fixed : std::clamp(rate_, rules.floor, rules.ceiling);
}

void Throttle::adapt(Nanos now) {
  if (rules_.fixed != 0 || now - lookedAt_ < LOOK) {
    return;
  }
  lookedAt_ = now;
  double strain = load_.strain();
  uint64_t next = rate_;
  if (strain > STRAIN_MAX) {
    next = rate_ / 10 * 7;
  } else {
    next = strain == 0 ? rate_ * 2 : rate_ / 8 * 9;
  }
  rate_ = std::clamp(next, rules_.floor, rules_.ceiling);
  if (rate_ > rules_.floor) {
    flooredAt_ = 0;
  } else if (flooredAt_ == 0) {
    flooredAt_ = now;
  } else if (now - flooredAt_ > FLOOR_PATIENCE && strain > STRAIN_MAX) {
    load_.forgive();
  }
}

kj::Promise<void> Throttle::take(uint64_t bytes, Nanos waitMax) {
  Nanos now = clock_.monotonic();
  adapt(now);
  load_.background();
  free_ = std::max(free_, now - CREDIT);
  Nanos wait = std::min(free_ - now, waitMax);
  double seconds = static_cast<double>(std::max(bytes, BYTES_MIN)) / static_cast<double>(rate_);
  // Nobody owes more than was waited for.
  free_ = now + wait + static_cast<Nanos>(seconds * static_cast<double>(SECOND));
  return wait > 0 ? clock_.after(wait) : kj::Promise<void>(kj::READY_NOW);
}

}  // namespace cairn
