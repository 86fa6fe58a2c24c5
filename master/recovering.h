// Recovering from the loss of a majority: the directory of one survivor, stopped, is made that of a group of its own,
// of a new epoch. First a plan, which changes nothing and says what may be lost; then the same with the plan's id.
#pragma once
#include <leveldb/env.h>

#include <optional>
#include <string>
#include <vector>

#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/task.h"
#include "master/log/recovery.h"
#include "master/member_about.h"
#include "master/namespace/records.h"
#include "master/raft/raft.h"

namespace cairn {

struct RecoveryParts {
  Disk& disk;  // the survivor's data directory
  leveldb::Env& env;
  Random& random;
  const ClusterFile& cluster;
  const std::string& name;  // of the survivor
  uint64_t segmentBytes = LogOptions().segmentBytes;
};

struct RecoveryPlan {
  std::string id;  // another one when anything in the directory has changed
  GroupEpoch epoch{};
  raft::Position last;                 // of the log. Nothing up to it is lost
  LogIndex committed{};                // known to be
  Timestamp time;                      // of the last entry: nothing acknowledged before is lost
  bool votes = false;                  // it had a vote
  std::vector<std::string> others;     // who else had one
  std::vector<MemberAbout> members;    // the same with where they are, and the survivor itself
  std::optional<raft::Damage> damage;  // its log has lost entries up to there which the others would have given back
};

// Errors: EWOULDBLOCK when the master runs; otherwise as those of its start, and ENODATA for one that has never been of
// a group. Waits inline.
Result<RecoveryPlan> planRecovery(RecoveryParts parts);

// Carries it out; the new group's epoch. ESTALE: `id` is not that of the plan that would be made now. A crash on the
// way leaves a directory that can't lead and can be recovered again.
Task<Result<GroupEpoch>> recover(RecoveryParts parts, std::string id);

}  // namespace cairn
