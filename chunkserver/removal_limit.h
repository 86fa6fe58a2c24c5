// How much of a volume may go without anybody's agreement because nobody seems to want it. A master that has come back
// from earlier, or a shard map gone wrong, makes much unwanted at once; ordinary losses make little. Pure.
#pragma once
#include <cstdint>

namespace cairn {

// Chunks of a volume that go.
struct RemovalCount {
  uint64_t unknown = 0;  // no file has them
  uint64_t surplus = 0;  // they belong elsewhere, where all copies are in sync
};

// Of a volume's chunks. Of those that belong elsewhere more may go, for a new chunkserver takes over as much, and each
// of them is known to be there.
constexpr uint64_t UNKNOWN_PERCENT = 20;
constexpr uint64_t SURPLUS_PERCENT = 60;
constexpr uint64_t FEW_CHUNKS = 4;

// `recent`: what went lately, `chunks`: how many there are now, `leaves`: people want the volume empty.
inline bool mustBeAgreed(RemovalCount found, RemovalCount recent, uint64_t chunks, bool leaves) {
  uint64_t all = chunks + recent.unknown + recent.surplus;
  uint64_t unknown = found.unknown + recent.unknown;
  uint64_t surplus = found.surplus + recent.surplus;
  bool manyUnknown = found.unknown > 0 && unknown > FEW_CHUNKS && unknown * 100 > all * UNKNOWN_PERCENT;
  bool manySurplus = found.surplus > 0 && surplus > FEW_CHUNKS && surplus * 100 > all * SURPLUS_PERCENT;
  return manyUnknown || (manySurplus && !leaves);
}

}  // namespace cairn
