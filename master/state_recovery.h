// How a replica gets at its state when it starts: LevelDB where it can be trusted, else made again from the newest
// whole snapshot. What the log holds after that is applied when it is known to be committed.
#pragma once
#include <leveldb/env.h>

#include "common/disk.h"
#include "master/log/log.h"
#include "master/namespace/state_machine.h"

namespace cairn {

struct RecoveredState {
  kj::Own<StateMachine> machine;
  std::vector<LogIndex> snapshots;  // that are there, oldest first
};

// Opens or rebuilds the state. Waits inline. An error means that entries are lost which were synced once; it says
// which, where, and what to do, and nothing was changed but LevelDB.
Result<RecoveredState> recoverState(Disk& disk, leveldb::Env& env, Log& log, uint64_t cacheBytes);

// LevelDB as it is, unless the last run found it damaged.
Result<kj::Own<Store>> openTrustedState(Disk& disk, leveldb::Env& env, uint64_t cacheBytes);

// Makes the next recoverState() rebuild LevelDB. For when a running replica finds it damaged.
Status distrustState(Disk& disk);

}  // namespace cairn
