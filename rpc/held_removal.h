// HeldRemoval: chunks of a volume that nobody wants, and that are so many that people must agree before they go
// (chunkserver/census.h).
#pragma once
#include <cstdint>

#include "schema/master.capnp.h"

namespace cairn {

struct HeldRemoval {
  uint64_t plan = 0;           // 0: there is nothing to agree to
  uint64_t unknownChunks = 0;  // no file has them
  uint64_t surplusChunks = 0;  // they belong elsewhere, and are there
  uint64_t ofChunks = 0;
};

inline void writeHeld(const HeldRemoval& held, wire::HeldRemoval::Builder out) {
  out.setPlan(held.plan);
  out.setUnknownChunks(held.unknownChunks);
  out.setSurplusChunks(held.surplusChunks);
  out.setOfChunks(held.ofChunks);
}

inline HeldRemoval readHeld(wire::HeldRemoval::Reader in) {
  return {in.getPlan(), in.getUnknownChunks(), in.getSurplusChunks(), in.getOfChunks()};
}

}  // namespace cairn
