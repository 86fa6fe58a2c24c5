// Chance for tests of this folder: a generator seeded by the test.
#pragma once
#include "common/generator.h"
#include "common/random.h"

namespace cairn {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : generator_(Generator::fromSeed(seed)) {}
  uint64_t next() override { return generator_.next(); }

 private:
  Generator generator_;
};

}  // namespace cairn
