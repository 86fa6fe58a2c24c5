// Rebuilding: a master's data directory from the names that a scan has found, from which the cluster can start with the
// chunkservers' disks as they are.
#pragma once
#include <leveldb/env.h>

#include <string>

#include "common/random.h"
#include "common/task.h"
#include "tools/recover/names.h"

namespace cairn::rescue {

// Copies what a master starts from (log and snapshots) out of one stopped master's directory into an empty one, which
// becomes `member`'s.
Status copyMaster(Disk& from, Disk& to, ClusterId cluster, const std::string& member, GroupEpoch epoch, Random& random);
// The epoch that a master's directory is of.
Result<GroupEpoch> epochOf(Disk& master);
// Whether that is a master's directory.
bool isMaster(Disk& disk);

// Makes `to`, as copyMaster(), the only member of a group of its own, of a new epoch, as `dfsadmin raft recover` does:
// all numbers leap over what may have been given out since, and chunkservers know the new masters from the old ones.
Task<Result<GroupEpoch>> rebuild(Disk& names, Disk& to, leveldb::Env& env, ClusterId cluster, std::string member,
                                 Random& random);

// Takes away a directory and all in it; success when it isn't there.
Status removeTree(Disk& disk, const std::string& path);

}  // namespace cairn::rescue
