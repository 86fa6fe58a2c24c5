// Context: what every part of one mount shares. The parts get it by reference; Client owns it.
#pragma once
#include <cerrno>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"
#include "fuse-client/client/ledger.h"
#include "fuse-client/client/options.h"
#include "fuse-client/client/waits.h"
#include "rpc/network.h"

namespace cairn {

struct Context {
  Context(Clock& clock, Network& network, Random& random, ClientOptions options)
      : clock(clock), network(network), random(random), options(std::move(options)), waits(clock) {}
  Context(const Context&) = delete;

  // Applies the mount's policy to a wait: "hard" waits on, "soft" gives EIO after its time-out.
  template <typename T>
  kj::Promise<Result<T>> limited(kj::Promise<Result<T>> promise, const char* what) {
    if (options.softTimeoutNanos == 0) {
      return promise;
    }
    auto late = clock.after(options.softTimeoutNanos).then([what]() -> Result<T> {
      return Error{EIO, std::string("soft mount: time-out waiting for ") + what};
    });
    return promise.exclusiveJoin(kj::mv(late));
  }

  Clock& clock;
  Network& network;
  Random& random;
  const ClientOptions options;
  ClientStats stats;
  Waits waits;
  NoLedger noLedger;
  Ledger* ledger = &noLedger;
};

}  // namespace cairn
