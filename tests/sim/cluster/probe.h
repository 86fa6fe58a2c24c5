// Probe: asks one named chunkserver, past the client library and its choices, over a connection of its own. What it
// asks a client or another member might ask, so what it is told must be right.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "rpc/connection.h"
#include "schema/chunk.capnp.h"
#include "schema/master.capnp.h"
#include "tests/sim/cluster/sim_cluster.h"

namespace cairn {

struct ProbeRead {
  bool answered = false;  // in time
  wire::Verdict verdict = wire::Verdict::FAILED;
  std::string why;
  bool matches = true;           // every block of data matches its checksum
  std::vector<kj::byte> bytes;   // as long as asked for
  bool ok() const { return answered && verdict == wire::Verdict::OK; }
};

// What a member says is stored of a chunk, every block read.
struct ProbeCopy {
  bool answered = false;
  wire::Verdict verdict = wire::Verdict::FAILED;
  bool present = false;
  uint64_t digest = 0;
  std::vector<uint32_t> bad;
  std::vector<uint32_t> torn;
  bool ok() const { return answered && verdict == wire::Verdict::OK; }
};

class Probe {
 public:
  static constexpr Nanos ANSWER_LIMIT = 2 * SECOND;

  // `from`: the host that asks; the network decides by it.
  explicit Probe(SimCluster& cluster, std::string from = "probe") : cluster_(cluster), from_(std::move(from)) {}

  // As a client that knows `map`; 0: the newest. `session` 0: none.
  struct As {
    const ShardMap* map = nullptr;
    SessionId session{};
    Nanos limit = ANSWER_LIMIT;
  };
  Task<ProbeRead> read(std::string server, Attributes file, uint64_t offset, uint32_t length, As as);
  ProbeRead read(const std::string& server, const Attributes& file, uint64_t offset, uint32_t length);
  // Writes one block as that session's client would.
  Task<wire::Verdict> write(std::string server, Attributes file, uint64_t block, kj::Array<kj::byte> bytes, As as);

  ProbeCopy describe(const std::string& server, ShardId shard, ChunkId chunk);
  // Every chunk that the shard's primary has. Throws when it doesn't say.
  std::vector<ChunkId> chunksAtPrimary(ShardId shard);
  // Ends a session as an administrator would.
  void evict(SessionId session);
  // Changes a chunkserver's state as an administrator would. The errno.
  int changeServer(std::string name, wire::ServerChange change, uint32_t seconds = 0);
  // Copies of what is made in a directory from now on, as an administrator would. The errno.
  int setReplicas(std::string path, uint8_t copies, wire::FailureDomain level);
  // The same with the files that are there, in any weather: EIO when nobody answers.
  Task<int> copying(std::string path, uint8_t copies);
  // A directory's limits, as an administrator would set them. The errno.
  int setQuota(std::string path, uint64_t bytesMax, uint64_t filesMax) {
    return cluster_.wait(setQuotaNow(kj::mv(path), bytesMax, filesMax));
  }
  struct Quota {
    uint64_t bytesUsed = 0;
    uint64_t bytesGranted = 0;
  };
  // Of all quotas together.
  Quota quotas() { return cluster_.wait(quotasNow()); }
  // How many tasks copy files into another class.
  size_t copyTasks() { return cluster_.wait(copyTasksNow()); }
  // Goes on with that chunkserver's copy of the shard. The errno.
  int forceShard(ShardId shard, const std::string& server, bool apply);
  // Blocks that all chunkservers together have adopted, as the master knows it.
  uint64_t adoptedBlocks();

  // Empty when all in-sync members of the chunk's shard hold the same, and every block matches; else what is wrong.
  std::string difference(ShardId shard, ChunkId chunk);

 private:
  struct Door {
    kj::Own<Link> link;
    wire::ChunkService::Client chunks;
    wire::PeerService::Client peer;
  };
  Task<kj::Own<Door>> enter(std::string server);
  Task<ProbeRead> readNow(std::string server, Attributes file, uint64_t offset, uint32_t length, As as);
  Task<wire::Verdict> writeNow(std::string server, Attributes file, uint64_t block, kj::Array<kj::byte> bytes, As as);
  Task<ProbeCopy> describeNow(std::string server, ShardId shard, ChunkId chunk);
  Task<std::vector<ChunkId>> listNow(ShardRecord record);
  Task<wire::Admin::Client> enterAdmin(kj::Own<Link>& link);
  Task<void> evictNow(SessionId session);
  Task<int> changeServerNow(std::string name, wire::ServerChange change, uint32_t seconds);
  Task<int> setReplicasNow(std::string path, uint8_t copies, wire::FailureDomain level, bool existing = false);
  Task<size_t> copyTasksNow();
  Task<int> setQuotaNow(std::string path, uint64_t bytesMax, uint64_t filesMax);
  Task<Quota> quotasNow();
  Task<int> forceShardNow(ShardId shard, VolumeNumber volume, bool apply);
  Task<uint64_t> adoptedNow();
  void fillTarget(const Attributes& file, uint32_t chunk, const As& as, wire::Target::Builder target);

  SimCluster& cluster_;
  const std::string from_;
};

}  // namespace cairn
