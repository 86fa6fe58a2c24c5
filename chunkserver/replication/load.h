// Load: how long users' requests take at this server, against what they take while nothing goes on in the background.
// Pure; time comes from the clock. Requests of different size and kind are compared with their like only.
#pragma once
#include <array>

#include "common/clock.h"

namespace cairn {

class Load {
 public:
  // A mean of this many requests, or of those in this time, counts as one finding.
  static constexpr uint32_t SAMPLES = 16;
  static constexpr Nanos WINDOW = 500 * MILLISECOND;
  // No finding is believed for longer.
  static constexpr Nanos FRESH = SECOND;
  // The background is quiet when nothing was moved there for so long.
  static constexpr Nanos QUIET = 2 * SECOND;
  static constexpr uint32_t LARGE_BYTES = 64 << 10;
  static constexpr Nanos FORGIVEN_PART = 64;

  explicit Load(Clock& clock) : clock_(clock) {}

  // A user's request has ended.
  void note(bool write, uint64_t bytes, Nanos took);
  // Something was moved in the background.
  void background() { lastBackground_ = clock_.monotonic(); }
  // The background has been as slow as it may be for long, and users still feel something: it isn't the background.
  // What is usual draws nearer to what is.
  void forgive();
  // How many times longer than in quiet times the worst kind of request takes; 0: there are none.
  double strain() const;

 private:
  struct Kind {
    Nanos windowStart = 0;
    uint32_t samples = 0;
    Nanos sum = 0;
    Nanos now = 0;  // the last finding, and when
    Nanos nowAt = 0;
    Nanos quiet = 0;  // 0: not known yet
  };
  void find(Kind& kind, Nanos time);

  Clock& clock_;
  Nanos lastBackground_ = 0;
  std::array<Kind, 4> kinds_;
};

// Measures one request, from its making to done().
class LoadTimer {
 public:
  LoadTimer(Load& load, Clock& clock) : load_(load), clock_(clock), began_(clock.monotonic()) {}
  void done(bool write, uint64_t bytes) { load_.note(write, bytes, clock_.monotonic() - began_); }

 private:
  Load& load_;
  Clock& clock_;
  const Nanos began_;
};

}  // namespace cairn
