#include "common/checksum.h"

#include <kj/debug.h>
#include <xxhash.h>

#include <cstring>

#include "common/ids.h"

namespace cairn {

uint64_t hash64(kj::ArrayPtr<const kj::byte> bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.begin(), bytes.size(), seed);
}

uint64_t blockChecksum(kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(bytes.size() <= BLOCK_BYTES, "more than a block", bytes.size());
  uint64_t sum;
  if (bytes.size() == BLOCK_BYTES) {
    sum = hash64(bytes);
  } else {
    kj::byte padded[BLOCK_BYTES] = {};
    if (bytes.size() > 0) {
      memcpy(padded, bytes.begin(), bytes.size());
    }
    sum = hash64(kj::arrayPtr(padded, sizeof(padded)));
  }
  return sum == 0 ? 1 : sum;
}

}  // namespace cairn
