// What must hold of the shard map from each version to the next, whatever happens: looked at whenever the simulated
// world comes to rest, in every test that has a cluster.
#pragma once
#include <string>

#include "rpc/shard_map.h"

namespace cairn {

class MapMonitor {
 public:
  // The map as a master has applied it. Empty, or what is wrong with it, alone or after the one seen before. A shard
  // that has changed more than once in between is only looked at alone. An older map is passed over.
  std::string see(const ShardMap& now);

 private:
  ShardMap last_;
};

}  // namespace cairn
