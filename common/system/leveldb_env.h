// A leveldb::Env that closes LevelDB's gap: a write with sync=true does not cover earlier unsynced
// writes once LevelDB has switched to a new log file in between, for it never syncs the old one (without
// this, 6 of 300 power cuts lost earlier writes and kept later ones). Here a log file is synced before it is closed.
//
// LevelDB drops a log without looking at errors, so a sync that fails there poisons this Env: every later
// append or sync through it fails, and the database turns read-only instead of lying.
#pragma once
#include <leveldb/env.h>

#include <memory>

namespace cairn {

// `under` (leveldb::Env::Default() or a simulated one) must outlive the result. One for each database.
std::unique_ptr<leveldb::Env> newLogSyncingEnv(leveldb::Env& under);

}  // namespace cairn
