// The way to the cluster's leader and its administration interface, with a deadline on everything.
#pragma once
#include <string>

#include "common/task.h"
#include "rpc/connection.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"
#include "tools/admin/context.h"

namespace cairn::admin {

// How long a verb looks for a leader, and how long it waits for one answer.
constexpr Nanos FIND_LIMIT = 4 * SECOND;
constexpr Nanos ANSWER_LIMIT = 5 * SECOND;

struct MasterLink {
  ClusterFile cluster;
  std::string name;  // of the master at the other end
  kj::Own<Link> link;
  wire::Admin::Client admin = nullptr;
  wire::Master::Client master = nullptr;
};

// Error codes: ENOTCONN when no leader answers within `limit`; ESTALE when the cluster refuses us; others as
// readCluster().
Task<Result<kj::Own<MasterLink>>> findMaster(Context& context, Nanos limit);
// The same as an exit code and a message on standard error.
int complainOf(const Error& error);

// The whole shard map.
Task<ShardMap> readMap(Context& context, wire::Admin::Client admin);

}  // namespace cairn::admin
