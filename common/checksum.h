// XXH3 checksums. A block's checksum is made by the client that wrote it and checked by every reader.
#pragma once
#include <kj/array.h>

#include <cstdint>
#include <string>

namespace cairn {

uint64_t hash64(kj::ArrayPtr<const kj::byte> bytes, uint64_t seed = 0);
inline uint64_t hash64(const std::string& bytes, uint64_t seed = 0) {
  return hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()), seed);
}

// Checksum of one block (or of a piece of one). Never 0: in a checksum area 0 means "a hole, reads as
// zeros". A block shorter than BLOCK_BYTES at the end of a chunk is summed as if padded with zeros.
uint64_t blockChecksum(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace cairn
