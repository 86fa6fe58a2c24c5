// RaftReplica: a Replica that is one of a group of masters. Drives master/raft: persists (RaftStore), sends
// (RaftLinks), applies (StateKeeper), ticks. Nothing of it waits for a disk but the answers.
#pragma once
#include <kj/memory.h>

#include "common/cluster_file.h"
#include "master/replica.h"
#include "rpc/network.h"

namespace cairn {

// Opens the data directory and takes part. `joins`: a new directory waits for a group to
// take it in; else it begins one of itself alone. Resolves when the directory is open, not when somebody leads. All
// references must outlive it.
Result<kj::Own<Replica>> openRaftReplica(ReplicaOptions options, const ClusterFile& cluster, bool joins, Clock& clock,
                                         Random& random, Network& network, Disk& disk, Workers& workers,
                                         leveldb::Env& env);

}  // namespace cairn
