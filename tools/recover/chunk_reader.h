// ChunkReader: the bytes of a chunk from whatever copies are left, block by block. Never a wrong byte:
//
// - What is given out matches its checksum. - The copies with the newest epoch count. One of them that doesn't have a
// block whole gives way to the next. - An older copy's block counts only where it has the checksum that a newest one
// has for that block: then it is the same
//   bytes.
// - A hole is believed where the checksum area is the one that the index vouches for, or where all of the newest agree.
// - Bytes that a truncate made dead read as zeros, as the file's layout says.
#pragma once
#include <vector>

#include "tools/recover/archive.h"

namespace cairn::rescue {

class ChunkReader {
 public:
  enum class Block { DATA, HOLE, LOST };

  ChunkReader(Archive& archive, const FileView& file, uint32_t chunk, bool deleted = false);
  KJ_DISALLOW_COPY(ChunkReader);

  // `out`: one block; zeros but for DATA.
  Block read(uint32_t block, kj::ArrayPtr<kj::byte> out);
  // Blocks from here on are holes.
  uint32_t lengthBlocks() const { return lengthBlocks_; }
  bool isLost() const { return lost_; }
  // No copy was up to date when the names were written last: it may be older than the file was.
  bool mayBeOlder() const { return mayBeOlder_; }
  // By what the scan has found, nothing is lost; without reading anything.
  bool looksWhole() const { return looksWhole_; }

 private:
  struct Copy {
    Located located;
    bool isNewest = false;
    uint64_t deadFrom = 0;  // byte of the chunk
    kj::Own<StoredChunk> chunk;
    bool failed = false;
  };

  void rank();
  uint64_t deadFrom(const FoundCopy& copy) const;
  StoredChunk* opened(Copy& copy);
  bool isWanted(uint64_t sum, uint32_t block);
  Block take(Copy& copy, StoredChunk& chunk, uint32_t block, kj::ArrayPtr<kj::byte> out);

  Archive& archive_;
  const FileView& file_;
  const uint32_t chunk_;
  std::vector<Copy> copies_;  // best first
  uint32_t lengthBlocks_ = 0;
  bool lost_ = false;
  bool mayBeOlder_ = false;
  bool looksWhole_ = false;
};

}  // namespace cairn::rescue
