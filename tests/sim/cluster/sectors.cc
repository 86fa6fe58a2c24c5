#include "tests/sim/cluster/sectors.h"

#include <string.h>

#include <algorithm>
#include <array>

#include "common/checksum.h"

namespace cairn {
namespace {

constexpr size_t WORDS = SECTOR_BYTES / sizeof(uint64_t);

std::array<uint64_t, WORDS> sectorWords(uint64_t file, uint64_t sector, int64_t version) {
  uint64_t name[3] = {file, sector, static_cast<uint64_t>(version)};
  std::array<uint64_t, WORDS> words;
  words[0] = static_cast<uint64_t>(version);
  uint64_t base = hash64(kj::arrayPtr(reinterpret_cast<const kj::byte*>(name), sizeof(name)));
  for (size_t i = 1; i < WORDS; ++i) {
    words[i] = base + i * 0x9e3779b97f4a7c15ull;
  }
  return words;
}

}  // namespace

void fillBlock(kj::ArrayPtr<kj::byte> block, uint64_t file, uint64_t blockNumber, int64_t version) {
  for (uint32_t i = 0; i < SECTORS_PER_BLOCK; ++i) {
    auto words = sectorWords(file, blockNumber * SECTORS_PER_BLOCK + i, version);
    memcpy(block.begin() + i * SECTOR_BYTES, words.data(), SECTOR_BYTES);
  }
}

std::vector<int64_t> sectorVersions(kj::ArrayPtr<const kj::byte> block, uint64_t file, uint64_t blockNumber) {
  std::vector<int64_t> versions;
  for (uint32_t i = 0; i < SECTORS_PER_BLOCK; ++i) {
    std::array<uint64_t, WORDS> words;
    memcpy(words.data(), block.begin() + i * SECTOR_BYTES, SECTOR_BYTES);
    if (std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; })) {
      versions.push_back(ZEROS);
      continue;
    }
    auto version = static_cast<int64_t>(words[0]);
    bool whole = version > 0 && words == sectorWords(file, blockNumber * SECTORS_PER_BLOCK + i, version);
    versions.push_back(whole ? version : FOREIGN);
  }
  return versions;
}

}  // namespace cairn
