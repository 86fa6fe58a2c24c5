// MergedChunk: one whole chunk in memory, put together from the members' images.
#pragma once
#include <kj/array.h>

#include <vector>

#include "chunkserver/replication/wire_chunks.h"
#include "chunkserver/store/chunk_format.h"

namespace cairn {

class MergedChunk {
 public:
  // Everything of the base.
  void load(const ChunkDescription& head, kj::Array<kj::byte> bytes);
  void load(wire::ChunkImage::Reader image);

  // Replaces a block by the same block of another image. `adopt`: its bytes don't match, and get a new checksum.
  // REQUIRES: the block holds data here.
  void patch(uint32_t block, const MergedChunk& from, bool adopt);
  void setBad(std::vector<uint32_t> bad) { bad_ = std::move(bad); }

  uint64_t sum(uint32_t block) const { return block < sums_.size() ? sums_[block] : 0; }
  uint64_t digest() const { return chunkDigest(generation_, kj::arrayPtr(sums_.data(), sums_.size())); }
  ImageView view(Epoch epoch) const;
  void write(wire::ChunkImage::Builder out, ChunkId chunk, Epoch epoch) const;
  uint64_t words() const { return bytes_.size() / sizeof(capnp::word) + sums_.size() + bad_.size() + 64; }

 private:
  bool hasData(uint32_t block) const { return block < sums_.size() && sums_[block] != 0; }
  // Where an allocated block's bytes begin.
  size_t position(uint32_t block) const;

  uint8_t chunkBits_ = DEFAULT_CHUNK_BITS;
  uint32_t generation_ = 0;
  ChunkHints hints_;
  std::vector<uint64_t> sums_;
  std::vector<uint32_t> bad_;
  kj::Array<kj::byte> bytes_;
};

// A ReadTarget that keeps what it gets.
class BufferTarget final : public ReadTarget {
 public:
  kj::ArrayPtr<kj::byte> bytes(size_t size) override {
    bytes_ = kj::heapArray<kj::byte>(size);
    return bytes_;
  }
  void sums(kj::ArrayPtr<const uint64_t>) override {}
  kj::Array<kj::byte> take() { return kj::mv(bytes_); }

 private:
  kj::Array<kj::byte> bytes_;
};

}  // namespace cairn
