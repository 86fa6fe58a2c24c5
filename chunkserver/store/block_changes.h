// What a write, a punch, a cut or an install does to a chunk, block by block, before anything is done:
// pure. A piece that covers a part of a block is laid over what is there, so the plan names the blocks whose
// old bytes it needs; with those given it becomes whole blocks and holes.
#pragma once
#include <kj/array.h>

#include <map>
#include <vector>

#include "chunkserver/store/volume_store.h"
#include "common/result.h"

namespace cairn {

// Whole blocks in a row. The memory belongs to the caller or to BlockChanges::owned.
struct BlockRun {
  uint32_t first = 0;
  kj::ArrayPtr<const kj::byte> bytes;
  kj::ArrayPtr<const uint64_t> sums;
  uint32_t count() const { return static_cast<uint32_t>(sums.size()); }
};
struct BlockHole {
  uint32_t first = 0;
  uint32_t count = 0;
};

struct BlockChanges {
  std::vector<BlockRun> runs;  // in order; later ones win
  std::vector<BlockHole> holes;
  struct Owned {
    kj::Array<kj::byte> bytes;
    uint64_t sum = 0;
  };
  std::vector<kj::Own<Owned>> owned;

  void addOwned(uint32_t block, kj::Array<kj::byte> bytes, uint64_t sum);
  uint32_t endBlock() const;  // after the last one written; 0 when none is
};

class WritePlan {
 public:
  // Pieces of one write at most: each may cost a search through those before it.
  static constexpr size_t PIECES_MAX = 256;

  // Checks bounds and every checksum. EINVAL, EBADMSG.
  static Result<WritePlan> make(uint8_t chunkBits, kj::ArrayPtr<const WritePiece> pieces);
  // Zeros over [offset, offset + length); whole blocks become holes. EINVAL when out of range.
  static Result<WritePlan> makePunch(uint8_t chunkBits, uint32_t offset, uint32_t length);

  // Blocks of which a part stays: finish() wants their old bytes.
  std::vector<uint32_t> partial() const;
  const std::vector<BlockRun>& runs() const { return runs_; }
  uint32_t endBlock() const { return endBlock_; }

  // Old bytes of partial(), checked; absent for a hole. A punch leaves a hole a hole.
  using OldBlocks = std::map<uint32_t, kj::Array<kj::byte>>;
  BlockChanges finish(OldBlocks old) &&;

 private:
  struct Patch {
    uint32_t offset = 0;
    kj::ArrayPtr<const kj::byte> bytes;
    uint64_t sum = 0;
  };
  struct Overlay {
    kj::ArrayPtr<const kj::byte> base;  // a whole block earlier in the same write; empty: the stored one
    std::vector<Patch> patches;
    std::vector<BlockHole> zeros;  // byte ranges, of a punch
  };
  Status add(const WritePiece& piece);
  void addPart(uint32_t block, Patch patch);
  kj::ArrayPtr<const kj::byte> earlier(uint32_t block) const;

  std::vector<BlockRun> runs_;
  std::vector<BlockHole> holes_;
  std::map<uint32_t, Overlay> overlays_;
  uint32_t endBlock_ = 0;
};

}  // namespace cairn
