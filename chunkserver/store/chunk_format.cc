#include "chunkserver/store/chunk_format.h"

#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "chunkserver/store/codec.h"
#include "common/checksum.h"

namespace cairn {

namespace {

constexpr uint64_t MAGIC = 0x4b48434e52494143;  // "CAIRNCHK" in the file
constexpr size_t CHECKSUM_BYTES = 8;

bool parseHex(std::string_view text, uint64_t& value) {
  value = 0;
  for (char c : text) {
    unsigned digit;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a' + 10);
    } else {
      return false;
    }
    value = value << 4 | digit;
  }
  return true;
}

void encodeFields(FieldWriter& out, const ChunkHeader& header, std::string_view path) {
  out.put(MAGIC);
  out.put(CHUNK_FORMAT);
  out.put(header.sequence);
  out.put(header.instance);
  out.put(header.cluster.high);
  out.put(header.cluster.low);
  out.put(raw(header.key.shard));
  out.put(raw(header.key.chunk.object));
  out.put(header.key.chunk.index);
  out.put(header.chunkBits);
  out.put(header.generation);
  out.put(header.lengthBytes);
  out.put(raw(header.lastEpoch));
  out.put(raw(header.hints.inode));
  out.put(header.hints.mode);
  out.put(header.hints.uid);
  out.put(header.hints.gid);
  out.putText(path);
}

ChunkHeader decodeFields(FieldReader& in) {
  ChunkHeader header;
  header.sequence = in.get<uint64_t>();
  header.instance = in.get<uint64_t>();
  header.cluster.high = in.get<uint64_t>();
  header.cluster.low = in.get<uint64_t>();
  header.key.shard = ShardId{in.get<uint32_t>()};
  header.key.chunk.object = ObjectId{in.get<uint64_t>()};
  header.key.chunk.index = in.get<uint32_t>();
  header.chunkBits = in.get<uint8_t>();
  header.generation = in.get<uint32_t>();
  header.lengthBytes = in.get<uint32_t>();
  header.lastEpoch = Epoch{in.get<uint64_t>()};
  header.hints.inode = InodeId{in.get<uint64_t>()};
  header.hints.mode = in.get<uint32_t>();
  header.hints.uid = in.get<uint32_t>();
  header.hints.gid = in.get<uint32_t>();
  header.hints.path = in.getText();
  return header;
}

}  // namespace

std::string encodeHeader(const ChunkHeader& header) {
  // The end of a path tells more than its beginning.
  std::string_view path = header.hints.path;
  path.remove_prefix(path.size() > PATH_HINT_MAX ? path.size() - PATH_HINT_MAX : 0);
  std::string out;
  out.reserve(HEADER_SLOT_BYTES);
  FieldWriter writer(out);
  encodeFields(writer, header, path);
  writer.put(hash64(out));
  KJ_ASSERT(out.size() <= HEADER_SLOT_BYTES);
  return out;
}

Result<ChunkHeader> decodeHeader(std::string_view bytes, size_t& used) {
  FieldReader in(bytes);
  if (in.get<uint64_t>() != MAGIC || in.failed()) {
    return Error{EUCLEAN, "no chunk header"};
  }
  uint32_t version = in.get<uint32_t>();
  if (!in.failed() && version > CHUNK_FORMAT && version < 1000) {
    return Error{EPROTONOSUPPORT,
                 fmt::format("chunk format {} is newer than this program's {}", version, CHUNK_FORMAT)};
  }
  ChunkHeader header = decodeFields(in);
  size_t size = in.used();
  uint64_t sum = in.get<uint64_t>();
  if (in.failed() || version != CHUNK_FORMAT || sum != hash64(asBytes(bytes.substr(0, size)))) {
    return Error{EUCLEAN, "damaged chunk header"};
  }
  if (header.chunkBits < CHUNK_BITS_MIN || header.chunkBits > CHUNK_BITS_MAX) {
    return Error{EUCLEAN, "chunk header with an impossible chunk size"};
  }
  used = size + CHECKSUM_BYTES;
  return header;
}

Result<FoundHeader> findHeader(kj::ArrayPtr<const kj::byte> firstBlock) {
  std::optional<FoundHeader> best;
  Error why{EUCLEAN, "no chunk header"};
  for (unsigned slot = 0; slot < 2; slot++) {
    uint32_t offset = HEADER_SLOT_OFFSETS[slot];
    if (firstBlock.size() < offset + HEADER_SLOT_BYTES) {
      continue;
    }
    size_t used = 0;
    auto found = decodeHeader(asText(firstBlock.slice(offset, offset + HEADER_SLOT_BYTES)), used);
    if (!found.ok()) {
      why = why.code == EPROTONOSUPPORT ? why : found.error();
    } else if (!best || found.value().sequence > best->header.sequence) {
      best = FoundHeader{std::move(found.value()), slot};
    }
  }
  if (!best) {
    return why;
  }
  return std::move(*best);
}

uint64_t chunkDigest(uint32_t generation, kj::ArrayPtr<const uint64_t> sums) {
  auto bytes = encodeSums(sums);
  return hash64(bytes, generation);
}

kj::Array<kj::byte> encodeSums(kj::ArrayPtr<const uint64_t> sums) {
  static_assert(std::endian::native == std::endian::little, "checksum areas are little-endian");
  auto out = kj::heapArray<kj::byte>(sums.size() * 8);
  if (sums.size() > 0) {
    memcpy(out.begin(), sums.begin(), out.size());
  }
  return out;
}

std::vector<uint64_t> decodeSums(kj::ArrayPtr<const kj::byte> area) {
  std::vector<uint64_t> sums(area.size() / 8);
  if (!sums.empty()) {
    memcpy(sums.data(), area.begin(), sums.size() * 8);
  }
  return sums;
}

void trimSums(std::vector<uint64_t>& sums) {
  while (!sums.empty() && sums.back() == 0) {
    sums.pop_back();
  }
}

uint32_t countAllocated(kj::ArrayPtr<const uint64_t> sums) {
  uint32_t count = 0;
  for (uint64_t sum : sums) {
    count += sum != 0;
  }
  return count;
}

std::string encodeInline(const ChunkHeader& header, kj::ArrayPtr<const uint64_t> sums,
                         kj::ArrayPtr<const kj::byte> bytes) {
  std::string out = encodeHeader(header);
  size_t size = bytes.size();
  while (size > 0 && bytes[size - 1] == 0) {
    size--;
  }
  FieldWriter writer(out);
  writer.put(static_cast<uint32_t>(sums.size()));
  writer.put(static_cast<uint32_t>(size));
  out.append(asText(encodeSums(sums)));
  out.append(asText(bytes.slice(0, size)));
  return out;
}

Result<InlineImage> decodeInline(std::string_view value) {
  InlineImage image;
  size_t used = 0;
  auto header = decodeHeader(value, used);
  if (!header.ok()) {
    return header.error();
  }
  image.header = std::move(header.value());
  FieldReader in(value.substr(used));
  uint32_t sums = in.get<uint32_t>();
  uint32_t size = in.get<uint32_t>();
  if (sums > INLINE_MAX / BLOCK_BYTES || size > sums * BLOCK_BYTES) {
    return Error{EUCLEAN, "small chunk with an impossible length"};
  }
  auto area = in.take(sums * 8);
  auto bytes = in.take(size);
  if (in.failed() || in.left() > 0) {
    return Error{EUCLEAN, "small chunk of the wrong length"};
  }
  image.sums = decodeSums(asBytes(area));
  image.bytes.assign(bytes.begin(), bytes.end());
  image.bytes.resize(sums * BLOCK_BYTES);
  return image;
}

std::string shardDirectory(ShardId shard) {
  return fmt::format("chunks/{:08x}", raw(shard));
}

std::string chunkFileName(ChunkId chunk) {
  return fmt::format("{:016x}-{:08x}", raw(chunk.object), chunk.index);
}

std::string chunkPath(ChunkKey key) {
  return shardDirectory(key.shard) + "/" + chunkFileName(key.chunk);
}

bool parseShardName(const std::string& name, ShardId& shard) {
  uint64_t value;
  if (name.size() != 8 || !parseHex(name, value)) {
    return false;
  }
  shard = ShardId{static_cast<uint32_t>(value)};
  return true;
}

bool parseChunkName(const std::string& name, ChunkId& chunk) {
  uint64_t object;
  uint64_t index;
  if (name.size() != 25 || name[16] != '-' || !parseHex(std::string_view(name).substr(0, 16), object) ||
      !parseHex(std::string_view(name).substr(17), index)) {
    return false;
  }
  chunk = ChunkId{ObjectId{object}, static_cast<uint32_t>(index)};
  return true;
}

}  // namespace cairn
