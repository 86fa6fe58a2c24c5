// What a scan finds on the disks: plain data, as it stands in the map (map_file.h).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "chunkserver/store/record.h"
#include "chunkserver/store/volume_store.h"

namespace cairn::rescue {

struct BlockRange {
  uint32_t first = 0;
  uint32_t end = 0;
};

// One copy of a chunk.
struct FoundCopy {
  // Whether its checksums are those that the index vouches for. UNKNOWN: it was being written when the server ended, or
  // the index is gone.
  enum class Sums { CONFIRMED, UNKNOWN, DIFFER };

  ChunkKey key;
  ChunkKind kind = ChunkKind::FILE;
  std::string path;      // of a chunk file, relative to the volume
  bool deleted = false;  // of a deleted file: kept for a while
  bool doubtful = false; // from a salvaged index: it may have been replaced
  Sums sums = Sums::UNKNOWN;
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  Epoch lastEpoch{};
  uint32_t lengthBlocks = 0;
  std::vector<BlockRange> bad;  // blocks that can't be read or don't match their checksum
  ChunkHints hints;
};

struct FoundDisk {
  std::string path;
  VolumeIdentity identity;
  bool finished = false;
  bool salvaged = false;  // its index was damaged, so what isn't found may have been there
  std::map<ShardId, Epoch> inSync;
  std::vector<FoundCopy> copies;
  std::vector<std::string> damage;  // what is wrong with it, for people
  uint64_t bytesRead = 0;
  uint64_t badBlocks = 0;
};

}  // namespace cairn::rescue
