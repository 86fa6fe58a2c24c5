// Names: the masters' state as it can be had from the disks: a directory like that of a stopped master, made from a
// capsule and the log after it, and the state opened from that for reading.
#pragma once
#include <kj/async.h>
#include <leveldb/env.h>

#include "common/random.h"
#include "master/log/log.h"
#include "master/namespace/state_machine.h"
#include "tools/recover/capsules.h"

namespace cairn::rescue {

constexpr char NAMES_MEMBER[] = "recovered";
constexpr char NAMES_DIRECTORY[] = "names";

// Makes the directory; `disk` is empty. Its member is called `member`.
Task<Status> makeMaster(const Capsules& capsules, Capsules::Choice choice, ClusterId cluster, std::string member,
                        Disk& disk, Random& random);

class Names {
 public:
  // Opens what makeMaster() has made, and applies what its state lacks. Waits inline.
  static Result<kj::Own<Names>> open(Disk& disk, leveldb::Env& env, ClusterId cluster);
  Names(kj::Own<Log> log, kj::Own<StateMachine> machine) : log_(kj::mv(log)), machine_(kj::mv(machine)) {}

  const NamespaceReader& reader() const { return machine_->reader(); }
  Timestamp time() const { return machine_->time(); }

 private:
  kj::Own<Log> log_;
  kj::Own<StateMachine> machine_;
};

}  // namespace cairn::rescue
