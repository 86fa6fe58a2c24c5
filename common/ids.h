// Identifiers: integers that can't be mistaken for one another, and the arithmetic of sharding.
// Used by every program. Nothing here allocates, reads a clock or fails.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

namespace cairn {

// A file, directory, symlink or special file. High 16 bits: the metadata group (0 today), low 48 a
// counter. Never reused.
enum class InodeId : uint64_t {};
// Where a file's bytes live. An inode points at an object; truncating to zero swaps it. Never reused.
enum class ObjectId : uint64_t {};
// A mounted client. 0 is "no session".
enum class SessionId : uint64_t {};
// Rises with any change of the shard map.
enum class MapVersion : uint64_t {};
// Rises, per shard, whenever the set of its in-sync replicas changes.
enum class Epoch : uint64_t {};
// A position in the master's log, from 1; 0 is "before everything".
enum class LogIndex : uint64_t {};
enum class Term : uint64_t {};
// Of the masters as a group: 0 from the beginning, higher each time that `dfsadmin raft recover` has begun the group
// anew from one survivor. High half a count, low half drawn at random: two survivors never come to the same one.
// Members, clients and chunkservers refuse masters of a lower epoch.
enum class GroupEpoch : uint64_t {};
// The master's compact name for a volume in the shard map, given at its first registration.
enum class VolumeNumber : uint32_t {};
// A replication class: how many copies, over which failure domains.
enum class ClassId : uint16_t {};
// Replication class (high 12 bits) and position in that class (low 20 bits).
enum class ShardId : uint32_t {};

template <typename E>
  requires std::is_enum_v<E>
constexpr std::underlying_type_t<E> raw(E id) {
  return static_cast<std::underlying_type_t<E>>(id);
}

// The id after this one.
template <typename E>
  requires std::is_enum_v<E>
constexpr E next(E id) {
  return static_cast<E>(raw(id) + 1);
}

constexpr InodeId ROOT_INODE{1};

// 128 random bits. Distinct tags keep a cluster's id from being passed for a volume's.
template <typename Tag>
struct Uuid {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const Uuid&) const = default;
  bool isNull() const { return high == 0 && low == 0; }
};
struct ClusterTag;
struct ServerTag;
struct VolumeTag;
struct IncarnationTag;
using ClusterId = Uuid<ClusterTag>;
using ServerId = Uuid<ServerTag>;  // one chunkserver, for its whole life
using VolumeId = Uuid<VolumeTag>;  // one data directory of a chunkserver
// One run of one daemon. Also the boot verifier that write and sync replies carry: unsynced data
// acknowledged under one incarnation may be gone under the next.
using Incarnation = Uuid<IncarnationTag>;

// 32 hexadecimal digits.
std::string uuidText(uint64_t high, uint64_t low);
template <typename Tag>
std::string toText(const Uuid<Tag>& id) {
  return uuidText(id.high, id.low);
}
// Reads what toText() wrote; false when `text` is anything else.
bool parseUuid(const std::string& text, uint64_t& high, uint64_t& low);
template <typename Tag>
bool parse(const std::string& text, Uuid<Tag>& id) {
  return parseUuid(text, id.high, id.low);
}

// "2-0012ab34": the count and the random half; "0" from the beginning.
std::string toText(GroupEpoch epoch);
bool parse(const std::string& text, GroupEpoch& epoch);
// A later one than `epoch`; `drawn` are random bits.
GroupEpoch recoveredEpoch(GroupEpoch epoch, uint64_t drawn);

// A fixed-size piece of an object: the unit of storage and of checksumming in a replica.
struct ChunkId {
  ObjectId object{};
  uint32_t index = 0;
  auto operator<=>(const ChunkId&) const = default;
};

// Unit of checksums, allocation and holes inside a chunk.
constexpr uint32_t BLOCK_BYTES = 4096;
// Default chunk size is 2^22 bytes; an object's layout names its own.
constexpr uint8_t DEFAULT_CHUNK_BITS = 22;
constexpr uint8_t DEFAULT_SHARD_BITS = 10;

constexpr uint32_t SHARD_POSITION_BITS = 20;
constexpr ShardId makeShardId(ClassId cls, uint32_t position) {
  return static_cast<ShardId>(uint32_t{raw(cls)} << SHARD_POSITION_BITS | position);
}
constexpr ClassId shardClass(ShardId shard) {
  return static_cast<ClassId>(raw(shard) >> SHARD_POSITION_BITS);
}
constexpr uint32_t shardPosition(ShardId shard) {
  return raw(shard) & ((1u << SHARD_POSITION_BITS) - 1);
}

// The shard that holds a chunk: the class and the *high* bits of the chunk's hash, so that doubling
// the count splits each shard in two and moves nothing else.
ShardId shardOf(ClassId cls, uint8_t shardBits, ChunkId chunk);

}  // namespace cairn

template <typename Tag>
struct std::hash<cairn::Uuid<Tag>> {
  size_t operator()(const cairn::Uuid<Tag>& id) const noexcept { return id.high ^ (id.low * 0x9e3779b97f4a7c15ull); }
};
template <>
struct std::hash<cairn::ChunkId> {
  size_t operator()(const cairn::ChunkId& id) const noexcept {
    return (raw(id.object) * 0x9e3779b97f4a7c15ull) ^ (uint64_t{id.index} * 0xc2b2ae3d27d4eb4full);
  }
};
