// Clock: the seam to time. The only source of "now" and of time-outs in this code base.
// Production: common/system/clock.cc. Simulation: tests/sim/world/sim_clock.h.
#pragma once
#include <kj/timer.h>

#include <cstdint>

namespace cairn {

using Nanos = int64_t;
constexpr Nanos MICROSECOND = 1000;
constexpr Nanos MILLISECOND = 1000 * MICROSECOND;
constexpr Nanos SECOND = 1000 * MILLISECOND;

class Clock {
 public:
  virtual ~Clock() noexcept(false) = default;

  // For time-outs and delays on the event loop. Its now() stands still within one turn.
  virtual kj::Timer& timer() = 0;

  // Nanoseconds of CLOCK_BOOTTIME: never goes back, counts through suspend. Leases and fences are
  // judged by this one.
  virtual Nanos monotonic() = 0;

  // Nanoseconds since 1970 of CLOCK_REALTIME. For timestamps that users see and for certificates, never for
  // other decisions.
  virtual Nanos wall() = 0;

  // A promise that resolves `delay` from now: from the call, even late in a long turn.
  virtual kj::Promise<void> after(Nanos delay) { return timer().afterDelay(delay * kj::NANOSECONDS); }
};

}  // namespace cairn
