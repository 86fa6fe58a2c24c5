// Random: the seam to chance. Everything random comes from an instance handed in by a constructor.
// Production: seeded from getrandom(2) (common/system/random.cc). Simulation: seeded by the test.
#pragma once
#include <cstdint>

#include "common/ids.h"

namespace cairn {

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t next() = 0;

  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

  template <typename Id>
  Id uuid() {
    Id id;
    id.high = next();
    id.low = next();
    return id;
  }
};

}  // namespace cairn
