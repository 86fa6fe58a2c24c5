// Between the messages of chunk.capnp and what the store speaks.
#pragma once
#include <capnp/common.h>

#include <vector>

#include "chunkserver/replication/merge.h"
#include "chunkserver/store/volume_store.h"
#include "schema/chunk.capnp.h"

namespace cairn {

inline ChunkId chunkOf(wire::Target::Reader target) {
  return {ObjectId{target.getObject()}, target.getIndex()};
}
inline ChunkId chunkOf(wire::ChunkName::Reader name) {
  return {ObjectId{name.getObject()}, name.getIndex()};
}
void writeName(ChunkId chunk, wire::ChunkName::Builder out);
void writeNames(const std::vector<ChunkId>& chunks, capnp::List<wire::ChunkName>::Builder out);

ChunkContext contextOf(wire::Target::Reader target);

// What a store refused with `code` means to the one who asked.
wire::Verdict verdictOf(int code);
void writeAnswer(wire::Answer2::Builder out, wire::Verdict verdict, MapVersion version, kj::StringPtr why = nullptr);

// The pieces of a write, pointing into their message, which must outlive them.
class PieceList {
 public:
  explicit PieceList(capnp::List<wire::Piece>::Reader in);
  PieceList(PieceList&&) = default;
  kj::ArrayPtr<const WritePiece> pieces() const { return kj::arrayPtr(pieces_.data(), pieces_.size()); }
  // Words that a message needs to carry them.
  uint64_t words() const { return words_; }

 private:
  std::vector<uint64_t> sums_;
  std::vector<WritePiece> pieces_;
  uint64_t words_ = 0;
};

void writeState(const ChunkSummary& in, wire::ChunkState::Builder out);
void writeState(const ChunkDescription& in, wire::ChunkState::Builder out);  // with sums, bad and torn blocks
CopyState copyOf(wire::ChunkState::Reader in);
CopyState copyOf(const ChunkDescription& in);
CopyState copyOf(const ChunkSummary& in);

// Where VolumeStore::image() puts a chunk: straight into a message.
class ImageTarget final : public ReadTarget {
 public:
  explicit ImageTarget(wire::ChunkImage::Builder out) : out_(out) {}
  kj::ArrayPtr<kj::byte> bytes(size_t size) override { return out_.initData(static_cast<unsigned>(size)); }
  void sums(kj::ArrayPtr<const uint64_t> sums) override;

 private:
  wire::ChunkImage::Builder out_;
};
// What an image says besides bytes and sums.
void writeImageHead(const ChunkDescription& in, wire::ChunkImage::Builder out);

// A chunk image out of a message (which must outlive it), or put together from several.
class ImageParts {
 public:
  explicit ImageParts(wire::ChunkImage::Reader in);
  ImageParts(ImageParts&&) = default;
  bool present() const { return present_; }
  // Valid while this lives and doesn't move.
  ImageView view() const;
  void setLastEpoch(Epoch epoch) { lastEpoch_ = epoch; }

 private:
  bool present_;
  uint8_t chunkBits_;
  uint32_t generation_;
  Epoch lastEpoch_;
  ChunkHints hints_;
  std::vector<uint64_t> sums_;
  std::vector<uint32_t> bad_;
  kj::ArrayPtr<const kj::byte> bytes_;
};

}  // namespace cairn
