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

// EEXIST when one of the other masters answers for this cluster and is one of a group: a second one must not begin
// under its name. Those that only wait for a group to take them in don't count.
Task<Status> findGroup(JoiningParts parts);

}  // namespace cairn
