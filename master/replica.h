// Replica: the master's replicated state behind three questions: propose a command, wait until reads are current, read.
// It owns a data directory: identity, lock, log, snapshots, LevelDB. A lone master is a group of one. Everything here
// runs on the event loop.
#pragma once
#include <capnp/message.h>
#include <kj/memory.h>
#include <leveldb/env.h>

#include <string>
#include <vector>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/task.h"
#include "common/workers.h"
#include "master/namespace/state_machine.h"
#include "rpc/network.h"
#include "rpc/program.h"
#include "schema/log.capnp.h"

namespace cairn {

// Told of every applied entry, in order, before its proposer's promise resolves. Must not throw.
class ReplicaObserver {
 public:
  virtual ~ReplicaObserver() noexcept(false) = default;
  virtual void onApplied(wire::Command::Reader command, const Applied& applied) = 0;
};

// Told when this member begins to lead, its state being current, and when it leads no longer. Must not throw.
class OfficeObserver {
 public:
  virtual ~OfficeObserver() noexcept(false) = default;
  virtual void onOffice(bool leads) = 0;
};

class Group;

struct ReplicaOptions {
  ClusterId cluster;                                // the data directory must belong to it
  std::string member;                               // name in cluster.toml; the data directory must belong to it
  uint64_t segmentBytes = 32 << 20;                 // of the log
  uint64_t snapshotLogBytes = uint64_t{256} << 20;  // a snapshot is made when the log has grown by so much
  uint64_t cacheBytes = 64 << 20;                   // for reads of the state
  uint64_t reserveBytes = 64 << 20;                 // of the disk, kept back so that deletes go on when it is full
  Program program;
};

class Replica {
 public:
  virtual ~Replica() noexcept(false) = default;

  // Appends the command to the log and applies it once it is durable. `command` is a wire::Command without `time`,
  // which is set here; it is copied before propose() returns. Errors: ENOSPC (no room for the log or the state), EBUSY
  // (too much waits already: try again), EIO (the replica doesn't lead, is stopped or fatal). An error says nothing was
  // or will be applied, except EIO, which leaves it open. What the command itself came to is in the reply's outcome.
  virtual Task<Result<Applied>> propose(capnp::MessageBuilder& command) = 0;
  static constexpr size_t PROPOSALS_MAX = 65536;

  // Everything acknowledged before the call is in reader() when it resolves.
  virtual Task<Result<LogIndex>> readBarrier() = 0;
  // Whether the same is so without waiting, because this master leads under a lease. Says so for what was read in this
  // turn *before* the call: a process that stood still in between finds that the lease is over. When it isn't so, take
  // readBarrier().
  virtual bool isCurrent() = 0;
  virtual const NamespaceReader& reader() const = 0;

  virtual bool isLeader() const = 0;
  virtual std::string leaderName() const = 0;     // empty when unknown
  virtual std::string leaderAddress() const = 0;  // of one that was added; else empty, and cluster.toml knows it
  virtual Term term() const = 0;

  // At most one; older than the replica, or null. Set before the first proposal.
  virtual void setObserver(ReplicaObserver* observer) = 0;
  // The same.
  virtual void setOfficeObserver(OfficeObserver* observer) = 0;
  virtual Group& group() = 0;

  // Resolves when the replica can't go on: the process must say `why` and end. Nothing is acknowledged after.
  virtual kj::Promise<Error> onFatal() = 0;

  // Good order: waits for what is in flight, writes the state out. Afterwards only reader() may be used.
  virtual Task<void> stop() = 0;
};

// What a replica takes from outside; all of it must outlive the replica.
struct ReplicaSeams {
  Clock& clock;
  Random& random;
  Network& network;
  Disk& disk;  // the data directory
  Workers& workers;
  leveldb::Env& env;
};

// Opens or makes the data directory, rebuilds the state or the log when it can't be trusted, and takes part. `joins`: a
// new directory waits for a group to take it in; else it begins one of itself alone. Nobody leads yet when it returns.
// The leader proposes Format when reader().formatted() is false.
Task<Result<kj::Own<Replica>>> openReplica(ReplicaOptions options, const ClusterFile& cluster, bool joins,
                                           ReplicaSeams seams);

}  // namespace cairn
