// Connections: a capability that reconnects by itself, and the serving side.
#pragma once
#include <capnp/capability.h>
#include <kj/async.h>

#include <functional>
#include <string>

#include "common/clock.h"
#include "common/random.h"
#include "common/task.h"
#include "rpc/network.h"

namespace cairn {

// Waits for `promise` at most `limit`; then rejects with OVERLOADED, naming `what`.
template <typename T>
kj::Promise<T> withDeadline(Clock& clock, Nanos limit, kj::Promise<T> promise, const char* what);

// A transport error or a deadline, as opposed to an answer: retry, perhaps elsewhere.
bool isRetryable(const kj::Exception& e);

// One live RPC connection to `address`: bootstrap capability plus a promise that resolves when the link
// breaks. Made by Dialer, destroyed to hang up.
class Link {
 public:
  virtual ~Link() noexcept(false) = default;
  virtual capnp::Capability::Client bootstrap() = 0;
  virtual kj::Promise<void> onBroken() = 0;
};

// Dials `address` within `limit`. `expected`: by its certificate, where there are any.
kj::Promise<kj::Own<Link>> dial(Network& network, Clock& clock, Address address, Nanos limit, ExpectedPeer expected);

// Exponential with full jitter: before try n (from 0) wait 0, then up to 10 ms, 20 ms ... 1 s.
Nanos backoffDelay(Random& random, unsigned tries);

// Serves RPC on a listener: each accepted connection gets its own bootstrap capability from `door`.
// Connections beyond the bound are closed at once; one that breaks framing loses only itself.
class RpcServer {
 public:
  using Door = std::function<capnp::Capability::Client(const PeerIdentity&)>;
  virtual ~RpcServer() noexcept(false) = default;
  virtual Address address() const = 0;
};
struct ServerLimits {
  uint32_t connectionsMax = 4096;
};
kj::Own<RpcServer> serveRpc(kj::Own<Listener> listener, RpcServer::Door door, ServerLimits limits = {});

template <typename T>
kj::Promise<T> withDeadline(Clock& clock, Nanos limit, kj::Promise<T> promise, const char* what) {
  auto late = clock.after(limit).then([what]() -> kj::Promise<T> {
    return KJ_EXCEPTION(OVERLOADED, "no answer in time", what);
  });
  return promise.exclusiveJoin(kj::mv(late));
}

}  // namespace cairn
