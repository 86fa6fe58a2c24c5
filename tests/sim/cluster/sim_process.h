// One life of one daemon of a simulated cluster, made of the same classes as the real program. Master and chunkserver
// are hidden behind one face, so that nobody needs the headers of both.
#pragma once
#include <kj/memory.h>

#include <optional>
#include <string>

#include "common/cluster_file.h"
#include "rpc/program.h"
#include "rpc/shard_map.h"
#include "tests/sim/world/world.h"

namespace cairn {

class SimProcess {
 public:
  // Without stop(): a crash. Whoever destroys it says first what becomes of its volumes and its network.
  virtual ~SimProcess() noexcept(false) = default;
  // It is up: a master listens, and votes in its group; a chunkserver is registered.
  virtual bool serving() = 0;
  // Why it has ended by itself; empty: it runs.
  virtual std::string died() const = 0;
  // The orderly end.
  virtual Task<void> stop() = 0;
  // A master's map; nullptr: not a master, or not up.
  virtual const ShardMap* map() { return nullptr; }
  // The term that a master leads in; nothing: it doesn't.
  virtual std::optional<Term> leads() { return std::nullopt; }
  // A master's replicated state, for comparing.
  struct State {
    LogIndex applied{};
    uint64_t digest = 0;
    bool operator==(const State&) const = default;
  };
  virtual State state() { return {}; }
  // That a master's state has been raised to.
  virtual uint32_t featureLevel() { return 0; }
  // What a master's trash holds.
  virtual uint64_t trashItems() { return 0; }
};

struct SimProcessSetup {
  ClusterFile cluster;
  std::string host;      // also the name of its volume and of the daemon
  std::string address;   // host:port
  std::string rack;      // of a chunkserver; empty: it doesn't say
  unsigned life = 1;     // the n-th process of this host
  bool founds = false;   // a master that begins the cluster; the others join it in their first life
  uint8_t shardBits = 3;
  uint32_t trashSeconds = 0;  // that deletes are kept
  uint32_t level = wire::FEATURE_LEVEL;  // that the program knows
};

// The data directory is the volume `host`; empty at life 1.
kj::Own<SimProcess> startSimMaster(World& world, SimProcessSetup setup);
// The volumes are `host`.home (who it is) and `host` (its one data directory).
kj::Own<SimProcess> startSimServer(World& world, SimProcessSetup setup);

}  // namespace cairn
