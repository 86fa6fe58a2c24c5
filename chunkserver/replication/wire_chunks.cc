#include "chunkserver/replication/wire_chunks.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace cairn {
namespace {

template <typename T>
void writeList(const std::vector<T>& in, typename capnp::List<T>::Builder out) {
  for (uint32_t i = 0; i < in.size(); ++i) {
    out.set(i, in[i]);
  }
}

template <typename T>
std::vector<T> readList(typename capnp::List<T>::Reader in) {
  std::vector<T> out;
  out.reserve(in.size());
  for (T item : in) {
    out.push_back(item);
  }
  return out;
}

}  // namespace

void writeName(ChunkId chunk, wire::ChunkName::Builder out) {
  out.setObject(raw(chunk.object));
  out.setIndex(chunk.index);
}

void writeNames(const std::vector<ChunkId>& chunks, capnp::List<wire::ChunkName>::Builder out) {
  for (uint32_t i = 0; i < chunks.size(); ++i) {
    writeName(chunks[i], out[i]);
  }
}

ChunkContext contextOf(wire::Target::Reader target) {
  ChunkContext out;
  out.shard = ShardId{target.getShard()};
  out.epoch = Epoch{target.getEpoch()};
  out.chunkBits = target.getChunkBits();
  out.generation = target.getGeneration();
  for (auto cut : target.getCuts()) {
    out.cuts.push_back({cut.getGeneration(), cut.getFirstDead()});
  }
  out.hints.inode = InodeId{target.getInode()};
  out.hints.mode = target.getMode();
  out.hints.uid = target.getUid();
  out.hints.gid = target.getGid();
  out.hints.path = target.getPath().cStr();
  return out;
}

wire::Verdict verdictOf(int code) {
  switch (code) {
    case 0:
      return wire::Verdict::OK;
    case ENOSPC:
      return wire::Verdict::NO_SPACE;
    case EBADMSG:
    case EINVAL:
      return wire::Verdict::BAD_REQUEST;
    case EUCLEAN:
      return wire::Verdict::CORRUPT;
    case ESTALE:
      return wire::Verdict::STALE_LAYOUT;
    default:
      return wire::Verdict::FAILED;
  }
}

void writeAnswer(wire::Answer2::Builder out, wire::Verdict verdict, MapVersion version, kj::StringPtr why) {
  out.setVerdict(verdict);
  out.setMapVersion(raw(version));
  if (why.size() > 0) {
    out.setWhy(why);
  }
}

PieceList::PieceList(capnp::List<wire::Piece>::Reader in) {
  size_t sums = 0;
  for (auto piece : in) {
    sums += piece.getSums().size();
  }
  sums_.reserve(sums);
  pieces_.reserve(in.size());
  for (auto piece : in) {
    auto data = piece.getData();
    auto list = piece.getSums();
    size_t first = sums_.size();
    for (uint64_t sum : list) {
      sums_.push_back(sum);
    }
    pieces_.push_back({piece.getOffset(), data, kj::arrayPtr(sums_.data() + first, list.size())});
    words_ += data.size() / sizeof(capnp::word) + list.size() + 8;
  }
}

void writeState(const ChunkSummary& in, wire::ChunkState::Builder out) {
  writeName(in.chunk, out.initName());
  out.setPresent(in.present);
  if (in.present) {
    out.setDigest(in.digest);
    out.setLastEpoch(raw(in.lastEpoch));
    out.setAllocatedBytes(in.allocatedBytes);
  }
}

void writeState(const ChunkDescription& in, wire::ChunkState::Builder out) {
  writeState(static_cast<const ChunkSummary&>(in), out);
  writeList(in.sums, out.initSums(in.sums.size()));
  writeList(in.bad, out.initBad(in.bad.size()));
  writeList(in.torn, out.initTorn(in.torn.size()));
}

CopyState copyOf(wire::ChunkState::Reader in) {
  return {in.getPresent(), in.getDigest(), readList<uint64_t>(in.getSums()), readList<uint32_t>(in.getBad()),
          readList<uint32_t>(in.getTorn()), in.getLastEpoch()};
}

CopyState copyOf(const ChunkDescription& in) {
  return {in.present, in.digest, in.sums, in.bad, in.torn, raw(in.lastEpoch)};
}
CopyState copyOf(const ChunkSummary& in) {
  return {in.present, in.present ? in.digest : 0, {}, {}, {}, raw(in.lastEpoch)};
}

void ImageTarget::sums(kj::ArrayPtr<const uint64_t> sums) {
  auto out = out_.initSums(static_cast<unsigned>(sums.size()));
  for (uint32_t i = 0; i < sums.size(); ++i) {
    out.set(i, sums[i]);
  }
}

void writeImageHead(const ChunkDescription& in, wire::ChunkImage::Builder out) {
  writeName(in.chunk, out.initName());
  out.setPresent(in.present);
  out.setGeneration(in.generation);
  out.setChunkBits(in.chunkBits);
  out.setLastEpoch(raw(in.lastEpoch));
  out.setInode(raw(in.hints.inode));
  out.setMode(in.hints.mode);
  out.setUid(in.hints.uid);
  out.setGid(in.hints.gid);
  out.setPath(in.hints.path);
  std::vector<uint32_t> failing;
  std::merge(in.bad.begin(), in.bad.end(), in.torn.begin(), in.torn.end(), std::back_inserter(failing));
  writeList(failing, out.initBad(failing.size()));
}

ImageParts::ImageParts(wire::ChunkImage::Reader in)
    : present_(in.getPresent()),
      chunkBits_(in.getChunkBits()),
      generation_(in.getGeneration()),
      lastEpoch_(Epoch{in.getLastEpoch()}),
      hints_{InodeId{in.getInode()}, in.getMode(), in.getUid(), in.getGid(), in.getPath().cStr()},
      sums_(readList<uint64_t>(in.getSums())),
      bad_(readList<uint32_t>(in.getBad())),
      bytes_(in.getData()) {}

ImageView ImageParts::view() const {
  return {chunkBits_,
          generation_,
          lastEpoch_,
          raw(hints_.inode) == 0 ? nullptr : &hints_,
          kj::arrayPtr(sums_.data(), sums_.size()),
          bytes_,
          kj::arrayPtr(bad_.data(), bad_.size())};
}

}  // namespace cairn
