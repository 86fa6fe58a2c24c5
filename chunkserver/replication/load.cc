#include "chunkserver/replication/load.h"

#include <algorithm>

namespace cairn {

void Load::note(bool write, uint64_t bytes, Nanos took) {
  Kind& kind = kinds_[(write ? 2 : 0) + (bytes > LARGE_BYTES ? 1 : 0)];
  Nanos time = clock_.monotonic();
  if (kind.samples == 0) {
    kind.windowStart = time;
  }
  kind.samples++;
  kind.sum += took;
  if (kind.samples >= SAMPLES || time - kind.windowStart >= WINDOW) {
    find(kind, time);
  }
}

// What is usual follows quiet times slowly, and better ones at any time quickly.
void Load::find(Kind& kind, Nanos time) {
  kind.now = std::max<Nanos>(kind.sum / kind.samples, 1);
  kind.nowAt = time;
  kind.samples = 0;
  kind.sum = 0;
  bool quiet = time - lastBackground_ >= QUIET || lastBackground_ == 0;
  if (kind.quiet == 0) {
    kind.quiet = kind.now;
  } else if (kind.now < kind.quiet) {
    kind.quiet -= (kind.quiet - kind.now) / 4;
  } else if (quiet) {
    kind.quiet += (kind.now - kind.quiet) / 16;
  }
}

void Load::forgive() {
  for (auto& kind : kinds_) {
    kind.quiet += kind.now > kind.quiet ? (kind.now - kind.quiet) / FORGIVEN_PART : 0;
  }
}

double Load::strain() const {
  double worst = 0;
  Nanos time = clock_.monotonic();
  for (auto& kind : kinds_) {
    if (kind.quiet > 0 && time - kind.nowAt < FRESH) {
      worst = std::max(worst, static_cast<double>(kind.now) / static_cast<double>(kind.quiet));
    }
  }
  return worst;
}

}  // namespace cairn
