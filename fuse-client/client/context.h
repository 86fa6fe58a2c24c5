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
#include "fuse-client/client/slow_trace.h"
#include "fuse-client/client/waits.h"
#include "rpc/network.h"

namespace cairn {

struct Context {
  Context(Clock& clock, Network& network, Random& random, ClientOptions options)
      : clock(clock),
        network(network),
        random(random),
        options(std::move(options)),
        waits(clock),
        slow(this->options.slow) {}
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

  // A number of a call, by which people find it in the logs of servers. Unique as long as a session lasts.
  uint64_t nextRequest(SessionId session) {
    constexpr unsigned COUNTER_BITS = 32;
    return raw(session) << COUNTER_BITS | (++requests_ & ((uint64_t{1} << COUNTER_BITS) - 1));
  }

  // A server was asked from `began` until now. `told`: by it, of where the time went.
  void noteAnswer(InodeId inode, Nanos began, const std::string& server, kj::StringPtr told) {
    Nanos now = clock.monotonic();
    if (slow.isSlowPart(now - began)) {
      std::string text = told.size() > 0 ? std::string(told.cStr()) : server + " answered";
      slow.part(inode, began, now, text + ", " + milliseconds(now - began) + " in all");
    }
  }

  Clock& clock;
  Network& network;
  Random& random;
  const ClientOptions options;
  ClientStats stats;
  Waits waits;
  SlowTrace slow;
  NoLedger noLedger;
  Ledger* ledger = &noLedger;

 private:
  uint64_t requests_ = 0;
};

}  // namespace cairn
