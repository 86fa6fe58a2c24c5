// Locks as they stand in the state: reading them there, changing them, and how they travel.
#pragma once
#include "master/namespace/locks.h"
#include "master/namespace/tables.h"

namespace cairn {

constexpr uint32_t LOCKS_MAX = 8192;  // of one session on one file: a request looks at all of them

// EINVAL: that is no lock.
Status checkLock(wire::LockRequest::Reader in);
// REQUIRES: checkLock().
FileLock readLock(SessionId session, wire::LockRequest::Reader in);
void writeLock(const FileLock& lock, wire::LockRequest::Builder out);

// Those of a kind on a file that begin no later than the byte after `last`, in the order of their first bytes.
std::vector<FileLock> locksOn(const Store& store, InodeId inode, wire::LockKind kind, uint64_t last = UINT64_MAX);
// Of a session's end: all that it has.
void dropLocks(Execution& execution, SessionId session);

}  // namespace cairn
