// What the daemons say of their own processes, each asked itself, whether it leads or not.
#pragma once
#include <string>
#include <vector>

#include "common/cluster_file.h"
#include "rpc/shard_map.h"
#include "tools/admin/context.h"
#include "tools/admin/output.h"

namespace cairn::admin {

struct DaemonPlace {
  std::string name;
  bool master = false;
  std::vector<std::string> addresses;
  ServerId server;  // of a chunkserver
};

// The masters of cluster.toml and the chunkservers of the map, which may be empty.
std::vector<DaemonPlace> daemonsOf(const Context& context, const ClusterFile& cluster, const ShardMap& map);

struct DaemonAnswer {
  std::string version;
  std::string logLevel;
  std::string refused;      // why it didn't do it; empty: it did
  std::string unreachable;  // why it doesn't answer; empty: it does
};
// `logLevel`: from now on; empty: as it is.
Task<DaemonAnswer> askDaemon(Context& context, const ClusterFile& cluster, const DaemonPlace& place,
                             const std::string& logLevel);
Json daemonJson(const DaemonPlace& place, const DaemonAnswer& answer);

}  // namespace cairn::admin
