// The index's keys and values: what a volume knows of its chunks without opening their files.
//
//   'r' shard object index   record: kind, generation, last epoch, digest, bad blocks
//   'v' shard object index   a small chunk's value (chunk_format.h); of a file that has a base: what it grew from
//   'd' shard object index   dirty mark, present or not
//   'k' shard object index   has bad blocks: how many
//   'q' time shard object index   a deleted chunk that is kept for a while (retired.h)
//   's' shard                last epoch in sync
//   'b' number               mark of an index batch (index.h)
//   'm' name                 of the volume
//
// All keys of one chunk that change together go into one batch; no rule ties keys of different batches, for
// LevelDB may lose an unsynced batch and keep a later one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "chunkserver/store/volume_store.h"
#include "common/result.h"

namespace cairn {

enum class ChunkKind : uint8_t { INLINE = 1, FILE = 2 };

struct ChunkRecord {
  ChunkKind kind = ChunkKind::INLINE;
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  bool settled = false;  // a file that was synced once: missing now means lost
  bool hasBase = false;  // a file not synced yet since it grew out of the small chunk under 'v'
  uint32_t generation = 0;
  Epoch lastEpoch{};
  uint64_t instance = 0;
  uint32_t lengthBlocks = 0;     // of a dirty file: when it was last clean
  uint32_t allocatedBlocks = 0;  // the same
  uint64_t digest = 0;           // the same
  std::vector<uint32_t> bad;     // sorted
};

std::string encodeRecord(const ChunkRecord& record);
Result<ChunkRecord> decodeRecord(std::string_view value);

enum class KeySpace : char {
  RECORD = 'r',
  VALUE = 'v',
  DIRTY = 'd',
  BAD = 'k',
  RETIRED = 'q',
  IN_SYNC = 's',
  BATCH = 'b',
  META = 'm'
};
constexpr size_t CHUNK_KEY_BYTES = 17;

std::string indexKey(KeySpace space, ChunkKey key);
std::string indexKey(KeySpace space, ShardId shard);
std::string indexKey(KeySpace space, ShardId shard, ObjectId object);
std::string metaKey(std::string_view name);
// The chunk (or, of IN_SYNC, the shard alone) that a key names.
ChunkKey chunkOfKey(std::string_view key);
// The first key after all that begin with `prefix`.
std::string afterPrefix(std::string prefix);

std::string encodeIndexNumber(uint64_t number);
Result<uint64_t> decodeIndexNumber(std::string_view value);

}  // namespace cairn
