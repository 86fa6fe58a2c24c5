// A member of a group whose log was found damaged doesn't give up: what it synced once and lost, the others have. Its
// log begins anew after the last entry in its state, it remembers how far it may have acknowledged, and until it has
// got all that back it votes for nobody who lacks it (master/raft, Damage).
#pragma once
#include <optional>

#include "common/disk.h"
#include "common/task.h"
#include "master/log/log.h"
#include "master/raft/raft.h"
#include "master/replica.h"

namespace cairn {

// The damage that isn't mended yet.
Result<std::optional<raft::Damage>> readDamage(Disk& disk);
Status clearDamage(Disk& disk);

// `joined`: a group took this member in once. `why`: Log::open()'s error, which is also the result where there is no
// repair: of a member that knows of no others beside it, or whose state is damaged as well. Can be interrupted anywhere
// and begun again.
Task<Result<kj::Own<Log>>> repairLog(ReplicaSeams seams, LogOptions options, uint64_t cacheBytes, bool joined,
                                     Error why);

}  // namespace cairn
