// A master with a new directory becomes part of the group: it asks the others until the leader has taken it in.
#pragma once
#include <string>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/random.h"
#include "common/task.h"
#include "master/group.h"
#include "rpc/network.h"

namespace cairn {

struct JoiningParts {
  Clock& clock;
  Random& random;
  Network& network;
  const ClusterFile& cluster;
  const std::string& name;  // of this master
};

// Returns when the group counts this member in; at once when it does already.
Task<void> joinGroup(JoiningParts parts, Group& group);

// Of a group that was begun anew: tells the masters of cluster.toml that aren't in it of its epoch from time to time,
// so that one of a lower epoch ends whether it knows this one or not.
Task<void> announceEpoch(JoiningParts parts, Group& group);

// EEXIST when one of the other masters answers for this cluster and is one of a group: a second one must not begin
// under its name. Those that only wait for a group to take them in don't count.
Task<Status> findGroup(JoiningParts parts);

// Why a master of epoch `own` can't go on when there is a group of epoch `later`, and what to do.
Error replacedGroup(const std::string& name, GroupEpoch own, GroupEpoch later);

}  // namespace cairn
