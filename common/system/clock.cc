#include "common/system/clock.h"

#include <kj/debug.h>
#include <kj/time.h>
#include <time.h>

namespace cairn {

namespace {

Nanos read(clockid_t id) {
  timespec now;
  KJ_SYSCALL(clock_gettime(id, &now));
  return now.tv_sec * SECOND + now.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  explicit SystemClock(kj::Timer& timer) : timer_(timer) {}
  kj::Timer& timer() override { return timer_; }
  Nanos monotonic() override { return read(CLOCK_BOOTTIME); }
  Nanos wall() override { return read(CLOCK_REALTIME); }
  // Not timer().afterDelay(), which counts from the start of the turn: after a long stall every deadline
  // set in that turn would have passed already.
  kj::Promise<void> after(Nanos delay) override {
    return timer_.atTime(kj::systemPreciseMonotonicClock().now() + delay * kj::NANOSECONDS);
  }

 private:
  kj::Timer& timer_;
};

}  // namespace

kj::Own<Clock> newSystemClock(kj::Timer& timer) {
  return kj::heap<SystemClock>(timer);
}

}  // namespace cairn
