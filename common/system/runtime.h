// What a main.cc makes first and hands on: the event loop and the production side of the seams that belong to
// the whole process. Disks and the network are opened from it (common/system/disk.h, rpc/system_network.h).
#pragma once
#include <kj/async-io.h>

#include "common/clock.h"
#include "common/random.h"
#include "common/system/workers.h"

namespace cairn {

struct Runtime {
  // Make it before anything else in the process: threads inherit the signal mask that it sets.
  explicit Runtime(unsigned workerThreads = DEFAULT_WORKER_THREADS);

  // Resolves at the first SIGTERM or SIGINT. A second one ends the process at once.
  kj::Promise<void> stopRequested();

  // For as long as the promise is kept: SIGHUP begins a new log file, where there is one (common/log.h). REQUIRES:
  // kj::UnixEventPort::captureSignal(SIGHUP), before anything else in the process.
  kj::Promise<void> logReopened();

  kj::AsyncIoContext io;
  kj::Own<Clock> clock;
  kj::Own<Random> random;
  kj::Own<Workers> workers;
};

}  // namespace cairn
