#include "chunkserver/replication/merged_chunk.h"

#include <kj/debug.h>

#include <cstring>

#include "common/checksum.h"

namespace cairn {

void MergedChunk::load(const ChunkDescription& head, kj::Array<kj::byte> bytes) {
  chunkBits_ = head.chunkBits;
  generation_ = head.generation;
  hints_ = head.hints;
  sums_ = head.sums;
  bytes_ = kj::mv(bytes);
}

void MergedChunk::load(wire::ChunkImage::Reader image) {
  ImageParts parts(image);
  ImageView view = parts.view();
  chunkBits_ = view.chunkBits;
  generation_ = view.generation;
  if (view.hints != nullptr) {
    hints_ = *view.hints;
  }
  sums_.assign(view.sums.begin(), view.sums.end());
  bytes_ = kj::heapArray(view.bytes);
}

size_t MergedChunk::position(uint32_t block) const {
  size_t at = 0;
  for (uint32_t b = 0; b < block; ++b) {
    at += sums_[b] == 0 ? 0 : BLOCK_BYTES;
  }
  KJ_REQUIRE(at + BLOCK_BYTES <= bytes_.size(), "an image has fewer bytes than its checksums say", block);
  return at;
}

void MergedChunk::patch(uint32_t block, const MergedChunk& from, bool adopt) {
  KJ_REQUIRE(hasData(block));
  size_t at = position(block);
  if (from.hasData(block)) {
    auto source = from.bytes_.slice(from.position(block), from.position(block) + BLOCK_BYTES);
    memcpy(bytes_.begin() + at, source.begin(), BLOCK_BYTES);
    sums_[block] = adopt ? blockChecksum(source) : from.sums_[block];
    return;
  }
  auto shorter = kj::heapArray<kj::byte>(bytes_.size() - BLOCK_BYTES);
  memcpy(shorter.begin(), bytes_.begin(), at);
  memcpy(shorter.begin() + at, bytes_.begin() + at + BLOCK_BYTES, shorter.size() - at);
  bytes_ = kj::mv(shorter);
  sums_[block] = 0;
  while (!sums_.empty() && sums_.back() == 0) {
    sums_.pop_back();
  }
}

ImageView MergedChunk::view(Epoch epoch) const {
  return {chunkBits_,
          generation_,
          epoch,
          raw(hints_.inode) == 0 ? nullptr : &hints_,
          kj::arrayPtr(sums_.data(), sums_.size()),
          bytes_.asPtr(),
          kj::arrayPtr(bad_.data(), bad_.size())};
}

void MergedChunk::write(wire::ChunkImage::Builder out, ChunkId chunk, Epoch epoch) const {
  ChunkDescription head;
  head.chunk = chunk;
  head.present = true;
  head.chunkBits = chunkBits_;
  head.generation = generation_;
  head.lastEpoch = epoch;
  head.hints = hints_;
  head.bad = bad_;
  writeImageHead(head, out);
  ImageTarget target(out);
  auto data = target.bytes(bytes_.size());
  memcpy(data.begin(), bytes_.begin(), bytes_.size());
  target.sums(kj::arrayPtr(sums_.data(), sums_.size()));
}

}  // namespace cairn
