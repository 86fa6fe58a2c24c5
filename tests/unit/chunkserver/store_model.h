// What a volume may hold: an executable model of chunks with crashes.
//
// Of each block the model knows the bytes that a read must give now, and every version that a power cut may leave:
// the one last synced and all that came after it. A cut (a shrinking truncate) is applied to all versions at
// once, for requests carry it until it is durable; until then a crash may also make it be applied once more, to
// what was written after it and never synced.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {

using BlockBytes = std::vector<kj::byte>;
using Version = std::shared_ptr<const BlockBytes>;  // null: zeros, a hole

inline Version versionOf(BlockBytes bytes) {
  return std::make_shared<const BlockBytes>(std::move(bytes));
}
inline BlockBytes bytesOf(const Version& version) {
  return version ? *version : BlockBytes(BLOCK_BYTES);
}

struct ModelBlock {
  Version now;
  std::vector<Version> legal{nullptr};  // what may be there after a power cut

  bool unsynced() const { return legal.size() > 1 || bytesOf(legal[0]) != bytesOf(now); }
  void change(Version version) {
    now = std::move(version);
    legal.push_back(now);
  }
  // Something that may happen or not.
  void perhaps(Version version) { legal.push_back(std::move(version)); }
  // Every version, and what the cuts that are still on their way make of it.
  std::vector<BlockBytes> possible(uint64_t start, const std::vector<uint64_t>& cuts) const {
    std::vector<BlockBytes> out;
    for (auto& version : legal) {
      out.push_back(bytesOf(version));
      for (uint64_t dead : cuts) {
        if (dead < start + BLOCK_BYTES) {
          out.push_back(bytesOf(version));
          std::fill(out.back().begin() + static_cast<ptrdiff_t>(dead > start ? dead - start : 0), out.back().end(), 0);
        }
      }
    }
    return out;
  }
};

class ModelChunk {
 public:
  explicit ModelChunk(uint32_t blocks) : blocks(blocks) {}

  void write(uint32_t offset, const std::vector<kj::byte>& data, bool certain = true) {
    for (size_t at = 0; at < data.size();) {
      uint32_t block = static_cast<uint32_t>((offset + at) / BLOCK_BYTES);
      size_t inside = (offset + at) % BLOCK_BYTES;
      size_t size = std::min(data.size() - at, BLOCK_BYTES - inside);
      BlockBytes bytes = bytesOf(blocks[block].now);
      std::copy_n(data.begin() + static_cast<ptrdiff_t>(at), size, bytes.begin() + static_cast<ptrdiff_t>(inside));
      put(block, versionOf(std::move(bytes)), certain);
      at += size;
    }
    present = present || certain;
  }
  void punch(uint64_t offset, uint64_t length) {
    for (uint64_t at = offset; at < offset + length;) {
      uint32_t block = static_cast<uint32_t>(at / BLOCK_BYTES);
      uint64_t end = std::min(offset + length, (uint64_t{block} + 1) * BLOCK_BYTES);
      if (end - at == BLOCK_BYTES) {
        put(block, nullptr, true);
      } else if (blocks[block].now) {
        BlockBytes bytes = *blocks[block].now;
        std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at % BLOCK_BYTES), end - at, kj::byte{0});
        put(block, versionOf(std::move(bytes)), true);
      }
      at = end;
    }
  }
  // Of all versions, everything from `dead` on.
  void cut(uint64_t dead) {
    cuts.push_back(dead);
    for (uint32_t block = 0; block < blocks.size(); block++) {
      uint64_t start = uint64_t{block} * BLOCK_BYTES;
      if (dead >= start + BLOCK_BYTES) {
        continue;
      }
      for (auto& version : blocks[block].legal) {
        version = masked(version, dead, start);
      }
      blocks[block].now = masked(blocks[block].now, dead, start);
    }
  }
  void remove(bool certain) {
    for (uint32_t block = 0; block < blocks.size(); block++) {
      put(block, nullptr, certain);
    }
    present = certain ? false : present;
  }
  void synced() {
    for (auto& block : blocks) {
      block.legal = {block.now};
    }
  }
  bool unsynced() const {
    return std::any_of(blocks.begin(), blocks.end(), [](auto& block) { return block.unsynced(); });
  }
  uint32_t allocated() const {
    return static_cast<uint32_t>(
        std::count_if(blocks.begin(), blocks.end(), [](auto& block) { return block.now != nullptr; }));
  }

  // Whether a power cut may leave the block unreadable: it has changed since the last sync, or a cut through it
  // is on its way.
  bool mayBeTorn(uint32_t block) const {
    auto inside = [block](uint64_t dead) { return dead / BLOCK_BYTES == block && dead % BLOCK_BYTES != 0; };
    return blocks[block].legal.size() > 1 || std::any_of(cuts.begin(), cuts.end(), inside);
  }
  bool allows(uint32_t block, const BlockBytes& found) const {
    auto possible = blocks[block].possible(uint64_t{block} * BLOCK_BYTES, cuts);
    return std::find(possible.begin(), possible.end(), found) != possible.end();
  }
  // A torn block: each sector of some version.
  bool allowsSectors(uint32_t block, const BlockBytes& found) const {
    auto possible = blocks[block].possible(uint64_t{block} * BLOCK_BYTES, cuts);
    for (size_t at = 0; at < BLOCK_BYTES; at += SimContent::SECTOR) {
      auto same = [&](const BlockBytes& bytes) {
        return memcmp(bytes.data() + at, found.data() + at, SimContent::SECTOR) == 0;
      };
      if (std::none_of(possible.begin(), possible.end(), same)) {
        return false;
      }
    }
    return true;
  }

  std::vector<ModelBlock> blocks;
  std::vector<uint64_t> cuts;  // that requests still carry
  bool present = false;

 private:
  static Version masked(const Version& version, uint64_t dead, uint64_t start) {
    if (!version || dead <= start) {
      return nullptr;
    }
    BlockBytes bytes = *version;
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(dead - start), bytes.end(), kj::byte{0});
    return versionOf(std::move(bytes));
  }
  void put(uint32_t block, Version version, bool certain) {
    if (certain) {
      blocks[block].change(std::move(version));
    } else {
      blocks[block].perhaps(std::move(version));
    }
  }
};

}  // namespace cairn
