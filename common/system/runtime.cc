#include "common/system/runtime.h"

#include <kj/async-unix.h>
#include <signal.h>

#include "common/system/clock.h"
#include "common/system/random.h"

namespace cairn {

namespace {

kj::AsyncIoContext setUp() {
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  return kj::setupAsyncIo();
}

}  // namespace

Runtime::Runtime(unsigned workerThreads)
    : io(setUp()),
      clock(newSystemClock(io.provider->getTimer())),
      random(newSystemRandom()),
      workers(newSystemWorkers(workerThreads)) {}

kj::Promise<void> Runtime::stopRequested() {
  auto& port = io.unixEventPort;
  auto arrived = port.onSignal(SIGTERM).exclusiveJoin(port.onSignal(SIGINT));
  return arrived.then([](siginfo_t&&) {
    // From here on the usual meaning: whoever doesn't want to wait for an orderly end asks again.
    sigset_t both;
    sigemptyset(&both);
    for (int signal : {SIGTERM, SIGINT}) {
      ::signal(signal, SIG_DFL);
      sigaddset(&both, signal);
    }
    sigprocmask(SIG_UNBLOCK, &both, nullptr);
  });
}

}  // namespace cairn
