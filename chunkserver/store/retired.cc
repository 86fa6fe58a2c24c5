#include "chunkserver/store/retired.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>

#include "chunkserver/store/chunk_format.h"
#include "chunkserver/store/codec.h"

namespace cairn {
namespace {

constexpr size_t TIME_DIGITS = 16;
constexpr size_t SHARD_DIGITS = 8;

}  // namespace

std::string retiredKey(const Retired& retired) {
  std::string key(1, static_cast<char>(KeySpace::RETIRED));
  FieldWriter out(key);
  out.putSorted(static_cast<uint64_t>(retired.since));
  out.putSorted(raw(retired.key.shard));
  out.putSorted(raw(retired.key.chunk.object));
  out.putSorted(retired.key.chunk.index);
  return key;
}

std::string encodeRetired(const Retired& retired) {
  std::string value;
  FieldWriter out(value);
  out.put(static_cast<uint8_t>(retired.kind));
  out.put(retired.allocatedBlocks);
  return value;
}

Result<Retired> decodeRetired(std::string_view key, std::string_view value) {
  Retired retired;
  FieldReader name(key.substr(1));
  retired.since = static_cast<int64_t>(name.getSorted<uint64_t>());
  retired.key.shard = ShardId{name.getSorted<uint32_t>()};
  retired.key.chunk.object = ObjectId{name.getSorted<uint64_t>()};
  retired.key.chunk.index = name.getSorted<uint32_t>();
  FieldReader in(value);
  retired.kind = ChunkKind{in.get<uint8_t>()};
  retired.allocatedBlocks = in.get<uint32_t>();
  if (name.failed() || in.failed()) {
    return Error{EUCLEAN, "a damaged entry of a deleted chunk"};
  }
  return retired;
}

std::string retiredPath(const Retired& retired) {
  return fmt::format("{}/{:016x}-{:08x}-{}", RETIRED_DIRECTORY, retired.since, raw(retired.key.shard),
                     chunkFileName(retired.key.chunk));
}

bool parseRetiredName(const std::string& name, Retired& retired) {
  if (name.size() < TIME_DIGITS + SHARD_DIGITS + 2) {
    return false;
  }
  const char* time = name.data();
  const char* shard = time + TIME_DIGITS + 1;
  uint32_t number = 0;
  bool timed = std::from_chars(time, time + TIME_DIGITS, retired.since, 16).ptr == time + TIME_DIGITS;
  bool sharded = std::from_chars(shard, shard + SHARD_DIGITS, number, 16).ptr == shard + SHARD_DIGITS;
  retired.key.shard = ShardId{number};
  retired.kind = ChunkKind::FILE;
  return timed && sharded && parseChunkName(name.substr(TIME_DIGITS + SHARD_DIGITS + 2), retired.key.chunk);
}

}  // namespace cairn
