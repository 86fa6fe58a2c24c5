// Proposing a change of the shard map. Refused with EAGAIN when the map has changed since `map` was looked at.
#pragma once
#include "common/task.h"
#include "master/placement/acting_sets.h"
#include "master/replica.h"

namespace cairn {

Task<Result<Applied>> proposeMap(Replica& replica, const MapChange& change);

}  // namespace cairn
