// Proposing a change of the shard map, against the map as it is now.
#pragma once
#include <set>

#include "master/placement/acting_sets.h"
#include "master/replica.h"

namespace cairn {

// The reply says EAGAIN when the map has changed meanwhile.
Task<Result<Applied>> proposeMap(Replica& replica, const MapChange& change);
// The same of a change that takes copies of `dropped`, which are gone, out of in-sync sets: they get no lease before
// they know it, should they be back meanwhile.
Task<Result<Applied>> proposeDrop(Replica& replica, const MapChange& change, Roster& roster,
                                  std::set<ServerId> dropped);

}  // namespace cairn
