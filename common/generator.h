// The generator behind both sides of the Random seam: xoshiro256** (Blackman and Vigna, public domain).
// Code that needs chance takes a Random, never this.
#pragma once
#include <bit>
#include <cstdint>

namespace cairn {

class Generator {
 public:
  Generator(uint64_t a, uint64_t b, uint64_t c, uint64_t d) : state_{a | 1, b, c, d} {}  // never all zero

  // All 256 bits of state from one seed, by SplitMix64.
  static Generator fromSeed(uint64_t seed) {
    uint64_t parts[4];
    for (uint64_t& part : parts) {
      seed += 0x9e3779b97f4a7c15ull;
      uint64_t z = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9ull;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
      part = z ^ (z >> 31);
    }
    return Generator(parts[0], parts[1], parts[2], parts[3]);
  }

  uint64_t next() {
    uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

 private:
  uint64_t state_[4];
};

}  // namespace cairn
