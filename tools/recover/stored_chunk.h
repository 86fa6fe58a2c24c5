// StoredChunk: one copy of a chunk, opened for reading: its checksums, and its blocks, each checked.
#pragma once
#include <memory>
#include <vector>

#include "chunkserver/store/chunk_format.h"
#include "common/disk.h"
#include "tools/recover/found.h"
#include "tools/recover/volume_index.h"

namespace cairn::rescue {

// A volume that is read from. `index` may be missing.
struct OpenVolume {
  kj::Own<Disk> disk;
  kj::Own<VolumeIndex> index;
};

class StoredChunk {
 public:
  // Of a copy that a scan has found.
  static Result<kj::Own<StoredChunk>> open(OpenVolume& volume, const FoundCopy& copy);
  // A chunk file, as it stands; `record`: what the index says of it, or nullptr.
  static Result<kj::Own<StoredChunk>> openFile(Disk& disk, const std::string& path, const ChunkRecord* record);
  static Result<kj::Own<StoredChunk>> ofValue(std::string_view value);

  const ChunkHeader& header() const { return header_; }
  bool headerDamaged() const { return headerDamaged_; }
  const std::vector<uint64_t>& sums() const { return sums_; }  // up to the last block that isn't a hole
  uint64_t sum(uint32_t block) const { return block < sums_.size() ? sums_[block] : 0; }
  // Whether the block is a hole, or is read, and matches its checksum. `out`: one block.
  bool readBlock(uint32_t block, kj::ArrayPtr<kj::byte> out);
  // Reads blocks of the file, as many as `out` holds, for readBlock() to find; nothing happens when that fails.
  void readAhead(uint32_t block);

 private:
  static constexpr uint32_t AHEAD_BLOCKS = 256;

  ChunkHeader header_;
  bool headerDamaged_ = false;
  std::vector<uint64_t> sums_;
  kj::Own<File> file_;
  std::vector<kj::byte> bytes_;  // of a small chunk: all; of a file: those from `from_` on
  uint32_t from_ = 0;
};

}  // namespace cairn::rescue
