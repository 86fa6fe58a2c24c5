// What dfsadmin asks of locks.
#pragma once
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

constexpr size_t LOCKS_LISTED_MAX = 10000;

// Those that are held, by file, then those that somebody waits for, in the order in which they were asked for.
void writeLocks(const Core& core, wire::Admin::LocksResults::Builder out);
// Its owner isn't told.
Task<Status> breakLock(Core& core, wire::LockInfo::Reader lock);

}  // namespace cairn
