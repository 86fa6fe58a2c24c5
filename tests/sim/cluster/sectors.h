// Self-describing file contents: every 512-byte sector says which file, block, sector and version it is, so that a
// checker can tell old, new, torn and foreign bytes apart.
#pragma once
#include <kj/array.h>

#include <cstdint>
#include <vector>

#include "common/ids.h"

namespace cairn {

constexpr uint32_t SECTOR_BYTES = 512;
constexpr uint32_t SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES;
// What sectorVersions() says of zeros, and of bytes that belong nowhere.
constexpr int64_t ZEROS = 0;
constexpr int64_t FOREIGN = -1;

// Fills one block. REQUIRES: version > 0, block.size() == BLOCK_BYTES.
void fillBlock(kj::ArrayPtr<kj::byte> block, uint64_t file, uint64_t blockNumber, int64_t version);

// The version of each sector of a block of that file.
std::vector<int64_t> sectorVersions(kj::ArrayPtr<const kj::byte> block, uint64_t file, uint64_t blockNumber);

}  // namespace cairn
