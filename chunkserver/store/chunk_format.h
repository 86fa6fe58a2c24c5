// What a chunk is in bytes: the self-describing header, the checksum area, the data.
//
//   a chunk file     [0, 4096)            two header slots: one at 0, one at 2048, 512 bytes each
//                    [4096, dataOffset)   checksum area: XXH3-64 of each 4 KiB block, little-endian; 0: hole
//                    [dataOffset, ...)    the blocks, each at its place; under a hole anything may stand
//   a small chunk    a value in the index: header, checksums up to the last allocated block, the bytes up to
//                    the last one written (the rest of the last block is zeros)
//
// Why two slots: a header changes in place while the old one is the only description of durable bytes. A
// change goes to the slot that does *not* hold the last synced header, so a torn write loses nothing; and a
// slot is one 512-byte sector, which disks write whole. The valid slot of the higher sequence counts.
//
// Why the data starts at a fixed offset and the area is written whole at creation: overwriting an allocated
// block then touches allocated blocks of the file only, and fdatasync needs no journal commit.
#pragma once
#include <kj/array.h>

#include <cstdint>
#include <string>
#include <vector>

#include "chunkserver/store/volume_store.h"
#include "common/ids.h"
#include "common/result.h"

namespace cairn {

constexpr uint32_t CHUNK_HEADER_BYTES = 4096;
constexpr uint32_t HEADER_SLOT_BYTES = 512;
constexpr uint32_t HEADER_SLOT_OFFSETS[2] = {0, 2048};
constexpr uint32_t CHUNK_FORMAT = 1;
constexpr size_t PATH_HINT_MAX = 320;
constexpr uint8_t CHUNK_BITS_MIN = 12;
constexpr uint8_t CHUNK_BITS_MAX = 26;
// Chunks whose last byte is below this live in the index.
constexpr uint32_t INLINE_MAX = 64 << 10;

// Stands for a checksum that is lost. As good as any number: a block that matches it by chance is a block
// with this checksum.
constexpr uint64_t LOST_SUM = 1;

inline uint32_t blocksOf(uint8_t chunkBits) {
  return 1u << (chunkBits - 12);
}
inline uint32_t sumsOffset(uint32_t block) {
  return CHUNK_HEADER_BYTES + block * 8;
}
inline uint32_t dataOffset(uint8_t chunkBits) {
  uint32_t area = blocksOf(chunkBits) * 8;
  return CHUNK_HEADER_BYTES + (area + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}
inline uint64_t blockOffset(uint8_t chunkBits, uint32_t block) {
  return dataOffset(chunkBits) + uint64_t{block} * BLOCK_BYTES;
}

struct ChunkHeader {
  uint64_t sequence = 0;  // of header writes of this chunk
  uint64_t instance = 0;  // of this creation of the chunk: tells it from an older one of the same name
  ClusterId cluster;
  ChunkKey key;
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  uint32_t lengthBytes = 0;  // when the header was written; the checksum area knows better
  Epoch lastEpoch{};         // the same
  ChunkHints hints;
};

// Variable length, with its own checksum at its end.
std::string encodeHeader(const ChunkHeader& header);
// The header at the start of `bytes`; `used` its length. EUCLEAN: damaged or not a header; EPROTONOSUPPORT:
// written by a newer version.
Result<ChunkHeader> decodeHeader(std::string_view bytes, size_t& used);

// The better of the two slots in a file's first CHUNK_HEADER_BYTES, and which it is.
struct FoundHeader {
  ChunkHeader header;
  unsigned slot = 0;
};
Result<FoundHeader> findHeader(kj::ArrayPtr<const kj::byte> firstBlock);

// Equal digests: equal bytes, allocation and generation. `sums` end at the last allocated block.
uint64_t chunkDigest(uint32_t generation, kj::ArrayPtr<const uint64_t> sums);

// Checksums as they stand on the disk, and back.
kj::Array<kj::byte> encodeSums(kj::ArrayPtr<const uint64_t> sums);
std::vector<uint64_t> decodeSums(kj::ArrayPtr<const kj::byte> area);
void trimSums(std::vector<uint64_t>& sums);  // takes holes off the end
uint32_t countAllocated(kj::ArrayPtr<const uint64_t> sums);

// A small chunk's value.
struct InlineImage {
  ChunkHeader header;
  std::vector<uint64_t> sums;
  std::vector<kj::byte> bytes;  // whole blocks
};
std::string encodeInline(const ChunkHeader& header, kj::ArrayPtr<const uint64_t> sums,
                         kj::ArrayPtr<const kj::byte> bytes);
Result<InlineImage> decodeInline(std::string_view value);

// "chunks/0000002a/0000000000000007-00000001"
std::string shardDirectory(ShardId shard);
std::string chunkFileName(ChunkId chunk);
std::string chunkPath(ChunkKey key);
// Reads the names back; false when it is not such a name.
bool parseShardName(const std::string& name, ShardId& shard);
bool parseChunkName(const std::string& name, ChunkId& chunk);

}  // namespace cairn
