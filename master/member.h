// Member: one master, wired out of the seams. main.cc runs one; the simulation runs as many as it likes.
#pragma once
#include <kj/memory.h>
#include <leveldb/env.h>

#include <string>
#include <vector>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/task.h"
#include "common/workers.h"
#include "master/replica.h"
#include "rpc/network.h"
#include "rpc/program.h"

namespace cairn {

struct MemberOptions {
  ClusterFile cluster;
  std::string name;             // in cluster.toml
  std::vector<Address> listen;  // at least one
  bool initialize = false;      // make a new data directory; it must be empty
  bool joins = false;           // the same, and become part of the group that the other masters are
  uint32_t rootUid = 0;         // owner of a new cluster's root directory
  uint32_t rootGid = 0;
  uint64_t cacheBytes = 64 << 20;
  uint64_t segmentBytes = 32 << 20;
  uint64_t snapshotLogBytes = uint64_t{256} << 20;
  uint8_t shardBits = DEFAULT_SHARD_BITS;
  uint32_t trashSeconds = 0;  // a cluster that was never told keeps what is deleted for so long
  Program program;
};

class Member {
 public:
  virtual ~Member() noexcept(false) = default;

  // What it listens on, with ports filled in.
  virtual std::vector<Address> addresses() const = 0;
  virtual Replica& replica() = 0;
  // Resolves when it can't go on: say why, and end the process.
  virtual kj::Promise<Error> onFatal() = 0;
  // Good order: takes no more calls, writes the state out. Dropping a member without it is a crash.
  virtual Task<void> stop() = 0;
};

// Opens the data directory, listens, serves. The error names thing, cause and next step.
Task<Result<kj::Own<Member>>> startMember(MemberOptions options, ReplicaSeams seams);

}  // namespace cairn
