// Workers as threads: a fixed number, one queue.
//
// A job and all it captured is destroyed on its thread before the promise resolves. The destructor
// lets running jobs end and drops those that have not begun: their promises reject.
#pragma once
#include <kj/memory.h>

#include "common/workers.h"

namespace cairn {

// Enough for one sync on each of a few disks beside cold reads; more only adds contention.
constexpr unsigned DEFAULT_WORKER_THREADS = 4;

kj::Own<Workers> newSystemWorkers(unsigned threads);

}  // namespace cairn
