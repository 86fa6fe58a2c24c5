// Chunks of deleted files, kept for a while: what the index has under 'q' of each. A small chunk's value stays where it
// was, under 'v'; a file goes to deleted/, and says in its header all that there is to know of it. So
// deleting costs what it cost before, and bringing back is possible until the room is wanted.
#pragma once
#include <string>
#include <string_view>

#include "chunkserver/store/record.h"

namespace cairn {

struct Retired {
  int64_t since = 0;  // seconds since 1970
  ChunkKey key;
  ChunkKind kind = ChunkKind::INLINE;
  uint32_t allocatedBlocks = 0;
};

constexpr const char* RETIRED_DIRECTORY = "deleted";

// Sorts by time.
std::string retiredKey(const Retired& retired);
std::string encodeRetired(const Retired& retired);
Result<Retired> decodeRetired(std::string_view key, std::string_view value);

// "deleted/0000000068bc2f1a-0000002a-0000000000000007-00000001"
std::string retiredPath(const Retired& retired);
// Reads the name back; false when it is not such a name.
bool parseRetiredName(const std::string& name, Retired& retired);

}  // namespace cairn
