// What an administrator may change of the shard map: the state of a chunkserver, and a shard whose last copy in sync is
// lost for good. Each is one log entry; the outcome says what stands in the way and what to do about it.
#pragma once
#include <string>

#include "common/task.h"
#include "master/placement/roster.h"
#include "master/replica.h"
#include "schema/master.capnp.h"

namespace cairn {

constexpr uint32_t MAINTENANCE_SECONDS_MAX = 7 * 86400;

// ENOENT: there is none of that name. EBUSY: not as things stand. EINVAL: it makes no sense.
Task<Status> changeServer(Replica& replica, Roster& roster, Nanos now, std::string name, wire::ServerChange change,
                          uint32_t seconds);

// EINVAL: the shard has a copy in sync that answers, or the volume can't serve it. Without `apply` nothing is done.
Task<Status> forceShard(Replica& replica, Roster& roster, ShardId shard, VolumeNumber volume, bool apply);

}  // namespace cairn
