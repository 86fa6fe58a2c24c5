// Connections to chunkservers, one for each, for reading chunks member by member.
#pragma once
#include <map>

#include "common/task.h"
#include "rpc/connection.h"
#include "rpc/shard_map.h"
#include "schema/chunk.capnp.h"
#include "schema/master.capnp.h"
#include "tools/admin/context.h"

namespace cairn::admin {

// A regular file as the master describes it.
struct FileTarget {
  std::string path;
  uint64_t inode = 0;
  uint64_t sizeBytes = 0;
  ClassId cls{};
  ObjectId object{};
  uint8_t chunkBits = DEFAULT_CHUNK_BITS;
  uint32_t generation = 0;
  struct DeadBytes {
    uint32_t generation;
    uint64_t firstDead;
  };
  std::vector<DeadBytes> cuts;

  uint32_t chunkCount() const;
};
FileTarget readTarget(wire::Attributes::Reader attributes, std::string path);

class ChunkDoors {
 public:
  ChunkDoors(Context& context, ClusterId cluster) : context_(context), cluster_(cluster) {}

  // The chunk service of a server; rejects with DISCONNECTED or OVERLOADED when it doesn't answer.
  Task<wire::ChunkService::Client> door(const ServerRecord& server);
  void forget(ServerId server) { doors_.erase(server); }

 private:
  struct Door {
    kj::Own<Link> link;
    wire::ChunkService::Client chunks;
  };
  Task<wire::ChunkService::Client> enter(const ServerRecord& server, Address address);

  Context& context_;
  ClusterId cluster_;
  std::map<ServerId, Door> doors_;
};

// What one member has of one chunk.
struct ChunkCopy {
  std::vector<uint64_t> sums;   // of each block's bytes; 0: zeros or a hole
  std::vector<uint32_t> bad;    // blocks that have no good bytes here
  uint64_t bytesRead = 0;
  wire::Verdict verdict = wire::Verdict::OK;
  std::string why;              // when the verdict isn't OK
};
// Which chunk, and what the map says of its shard. The things named must outlive the read.
struct ChunkPlace {
  const FileTarget& file;
  const ShardMap& map;
  const ShardRecord& shard;
  uint32_t index;
};
// Reads all of it and verifies each block against its checksum.
Task<ChunkCopy> readCopy(Context& context, wire::ChunkService::Client chunks, ChunkPlace place);
// Has the server look at these blocks itself, count what is bad and mend it from the other copies.
Task<void> reportBad(Context& context, wire::ChunkService::Client chunks, ChunkPlace place,
                     const std::vector<uint32_t>& blocks);

}  // namespace cairn::admin
