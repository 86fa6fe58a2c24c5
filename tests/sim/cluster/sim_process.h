// One life of one daemon of a simulated cluster, made of the same classes as the real program. Master and chunkserver
// are hidden behind one face, so that nobody needs the headers of both.
#pragma once
#include <kj/memory.h>

#include <string>

#include "common/cluster_file.h"
#include "rpc/shard_map.h"
#include "tests/sim/world/world.h"

namespace cairn {

class SimProcess {
 public:
  // Without stop(): a crash. Whoever destroys it says first what becomes of its volumes and its network.
  virtual ~SimProcess() noexcept(false) = default;
  // It is up: a master listens, a chunkserver is registered.
  virtual bool serving() const = 0;
  // Why it has ended by itself; empty: it runs.
  virtual std::string died() const = 0;
  // The orderly end.
  virtual Task<void> stop() = 0;
  // A master's map; nullptr: not a master, or not up.
  virtual const ShardMap* map() = 0;
};

struct SimProcessSetup {
  ClusterFile cluster;
  std::string host;      // also the name of its volume and of the daemon
  std::string address;   // host:port
  unsigned life = 1;     // the n-th process of this host
  uint8_t shardBits = 3;
};

// The data directory is the volume `host`; empty at life 1.
kj::Own<SimProcess> startSimMaster(World& world, SimProcessSetup setup);
// The volumes are `host`.home (who it is) and `host` (its one data directory).
kj::Own<SimProcess> startSimServer(World& world, SimProcessSetup setup);

}  // namespace cairn
