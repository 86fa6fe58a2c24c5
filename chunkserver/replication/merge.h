// How the copies of one chunk become equal: which member's bytes win, block by block. Pure.
//
// The base (the primary, unless said otherwise) gives presence, length and every block that matches its checksum
// there. Its other blocks come from a member where they match. A block that matches nowhere is adopted - its bytes as
// they are get a new checksum - only if every member restarted and it was torn by that; otherwise it stays bad.
#pragma once
#include <cstdint>
#include <vector>

namespace cairn {

// One member's copy, as `describe` found it.
struct CopyState {
  bool present = false;
  uint64_t digest = 0;
  std::vector<uint64_t> sums;  // one per block of the length; 0: hole
  std::vector<uint32_t> bad;   // rot: doesn't match, and was whole once
  std::vector<uint32_t> torn;  // doesn't match, and was dirty when its process ended
  uint64_t lastEpoch = 0;      // of its last change
};

struct BlockSource {
  uint32_t block = 0;
  uint32_t member = 0;
  bool operator==(const BlockSource&) const = default;
};

struct MergePlan {
  enum class Kind {
    EQUAL,    // nothing to do
    REMOVE,   // the base has no such chunk: nobody may keep it
    INSTALL,  // everybody gets the merged chunk
  };
  Kind kind = Kind::EQUAL;
  uint32_t base = 0;
  std::vector<BlockSource> patches;  // blocks not of the base that are taken from a member where they match
  std::vector<BlockSource> adopted;  // blocks whose bytes there get a new checksum
  std::vector<uint32_t> bad;         // blocks that stay bad
};

// REQUIRES: base < copies.size(). `allRestarted`: no member ran through since the chunk was last known equal.
MergePlan planMerge(const std::vector<CopyState>& copies, uint32_t base, bool allRestarted);

// The copy to believe where they differ inside an epoch, with nothing in flight: then some disk has lost a write. The
// last change was made in the copy's last epoch at the earliest, so those of the highest last epoch have it, or have
// lost it in that very epoch; of these what most have. Without any such difference member 0, the primary. A chunk that
// most don't have was removed.
uint32_t chooseNewest(const std::vector<CopyState>& copies);

}  // namespace cairn
