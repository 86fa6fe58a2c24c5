#include "chunkserver/store/record.h"

#include <cerrno>

#include "chunkserver/store/chunk_format.h"
#include "chunkserver/store/codec.h"

namespace cairn {

namespace {

constexpr uint8_t RECORD_FORMAT = 1;
constexpr uint8_t SETTLED = 1;
constexpr uint8_t HAS_BASE = 2;

std::string prefix(KeySpace space) {
  return std::string(1, static_cast<char>(space));
}

Error damaged(const char* what) {
  return Error{EUCLEAN, std::string("index: damaged ") + what};
}

}  // namespace

std::string encodeRecord(const ChunkRecord& record) {
  std::string out;
  out.reserve(64 + record.bad.size() * 4);
  FieldWriter writer(out);
  writer.put(RECORD_FORMAT);
  writer.put(static_cast<uint8_t>(record.kind));
  writer.put(static_cast<uint8_t>((record.settled ? SETTLED : 0) | (record.hasBase ? HAS_BASE : 0)));
  writer.put(record.chunkBits);
  writer.put(record.generation);
  writer.put(raw(record.lastEpoch));
  writer.put(record.instance);
  writer.put(record.lengthBlocks);
  writer.put(record.allocatedBlocks);
  writer.put(record.digest);
  writer.put(static_cast<uint32_t>(record.bad.size()));
  for (uint32_t block : record.bad) {
    writer.put(block);
  }
  return out;
}

Result<ChunkRecord> decodeRecord(std::string_view value) {
  FieldReader in(value);
  ChunkRecord record;
  uint8_t format = in.get<uint8_t>();
  uint8_t kind = in.get<uint8_t>();
  uint8_t flags = in.get<uint8_t>();
  record.kind = static_cast<ChunkKind>(kind);
  record.settled = flags & SETTLED;
  record.hasBase = flags & HAS_BASE;
  record.chunkBits = in.get<uint8_t>();
  record.generation = in.get<uint32_t>();
  record.lastEpoch = Epoch{in.get<uint64_t>()};
  record.instance = in.get<uint64_t>();
  record.lengthBlocks = in.get<uint32_t>();
  record.allocatedBlocks = in.get<uint32_t>();
  record.digest = in.get<uint64_t>();
  uint32_t bad = in.get<uint32_t>();
  bool sane = format == RECORD_FORMAT && (kind == 1 || kind == 2) && record.chunkBits >= CHUNK_BITS_MIN &&
              record.chunkBits <= CHUNK_BITS_MAX && record.lengthBlocks <= blocksOf(record.chunkBits) &&
              record.allocatedBlocks <= record.lengthBlocks && in.left() == bad * 4ull;
  if (in.failed() || !sane) {
    return damaged("record");
  }
  for (uint32_t i = 0; i < bad; i++) {
    record.bad.push_back(in.get<uint32_t>());
  }
  return record;
}

std::string indexKey(KeySpace space, ShardId shard) {
  std::string key = prefix(space);
  FieldWriter(key).putSorted(raw(shard));
  return key;
}

std::string indexKey(KeySpace space, ShardId shard, ObjectId object) {
  std::string key = indexKey(space, shard);
  FieldWriter(key).putSorted(raw(object));
  return key;
}

std::string indexKey(KeySpace space, ChunkKey key) {
  std::string out = indexKey(space, key.shard, key.chunk.object);
  FieldWriter(out).putSorted(key.chunk.index);
  return out;
}

std::string metaKey(std::string_view name) {
  return prefix(KeySpace::META).append(name);
}

ChunkKey chunkOfKey(std::string_view key) {
  FieldReader in(key.substr(1));
  ChunkKey out;
  out.shard = ShardId{in.getSorted<uint32_t>()};
  out.chunk.object = ObjectId{in.getSorted<uint64_t>()};
  out.chunk.index = in.getSorted<uint32_t>();
  return out;
}

std::string afterPrefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) {
    prefix.pop_back();
  }
  KJ_ASSERT(!prefix.empty());
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

std::string encodeIndexNumber(uint64_t number) {
  std::string out;
  FieldWriter(out).put(number);
  return out;
}

Result<uint64_t> decodeIndexNumber(std::string_view value) {
  FieldReader in(value);
  uint64_t number = in.get<uint64_t>();
  if (in.failed() || in.left() > 0) {
    return damaged("number");
  }
  return number;
}

}  // namespace cairn
