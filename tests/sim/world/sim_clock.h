// Virtual time: stands still until the World moves it to the next timer.
#pragma once
#include <kj/timer.h>

#include "common/clock.h"

namespace cairn {

class SimClock final : public Clock {
 public:
  SimClock() : impl_(kj::origin<kj::TimePoint>()) {}

  kj::Timer& timer() override { return impl_; }
  Nanos monotonic() override { return (impl_.now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS; }
  Nanos wall() override { return WALL_START + wallOffset_ + monotonic(); }

  // As an administrator's or NTP's step of the wall clock.
  void stepWall(Nanos by) { wallOffset_ += by; }
  // For the World, which alone moves time.
  kj::TimerImpl& impl() { return impl_; }

 private:
  static constexpr Nanos WALL_START = 1'700'000'000 * SECOND;
  kj::TimerImpl impl_;
  Nanos wallOffset_ = 0;
};

}  // namespace cairn
