// What the administrator sees of the masters as a group, and the changes that can be asked for.
#pragma once
#include <string>
#include <vector>

#include "common/task.h"
#include "master/core.h"
#include "master/group.h"
#include "master/health.h"
#include "schema/master.capnp.h"

namespace cairn {

// The members, and those of cluster.toml that aren't.
std::vector<MasterStanding> standingOf(const Core& core, const GroupStatus& group);

void writeMasters(const Core& core, const GroupStatus& group, wire::ClusterStatus::Builder out);
void writeDigests(const DigestComparison& compared, wire::Admin::RaftDigestResults::Builder out);
void writeGroup(const GroupStatus& group, wire::GroupInfo::Builder out);

// Refuses what would leave no majority, and says why.
Task<Status> changeGroup(Group& group, wire::RaftChange change, std::string name);

}  // namespace cairn
