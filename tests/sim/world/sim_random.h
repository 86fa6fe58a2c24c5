// Chance from a seed. Each user of chance gets a stream of its own, so that a change in one place
// doesn't shift the luck of all others.
#pragma once
#include <string>

#include "common/checksum.h"
#include "common/generator.h"
#include "common/random.h"

namespace cairn {

class SimRandom final : public Random {
 public:
  explicit SimRandom(uint64_t seed) : generator_(Generator::fromSeed(seed)) {}
  SimRandom(uint64_t seed, const std::string& user) : SimRandom(hash64(user, seed)) {}

  uint64_t next() override { return generator_.next(); }
  // Uniform in [low, high].
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }
  bool chance(uint64_t outOfMillion) { return below(1'000'000) < outOfMillion; }

 private:
  Generator generator_;
};

}  // namespace cairn
