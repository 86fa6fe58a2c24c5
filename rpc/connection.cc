#include "rpc/connection.h"

#include <capnp/rpc-twoparty.h>
#include <kj/debug.h>

#include "common/log.h"
#include "rpc/message_stream.h"

namespace cairn {
namespace {

constexpr Nanos BACKOFF_FIRST = 10 * MILLISECOND;
constexpr unsigned BACKOFF_DOUBLINGS_MAX = 7;  // 10 ms * 2^7 is just above the bound of 1 s
constexpr Nanos BACKOFF_MAX = SECOND;
// Calls of one peer that are under way, and what it may send before it reads the answers: all of its writes fit.
constexpr size_t CALL_BYTES_MAX = 512u << 20;
// Of who has shown no certificate.
constexpr FrameLimits STRANGER_LIMITS = {.segmentsMax = 8, .messageBytesMax = 32u << 10, .queuedBytesMax = 256u << 10};

// What both ends of a connection are made of, in the order of dependence.
struct Session {
  Session(kj::Own<kj::AsyncIoStream> s, capnp::rpc::twoparty::Side side, kj::Maybe<Clock&> clock,
          FrameLimits limits = {})
      : stream(kj::mv(s)), messages(newBatchingMessageStream(*stream, limits, clock)), network(*messages, side) {}
  kj::Own<kj::AsyncIoStream> stream;
  kj::Own<capnp::MessageStream> messages;
  capnp::TwoPartyVatNetwork network;
};

class LinkImpl final : public Link {
 public:
  LinkImpl(kj::Own<kj::AsyncIoStream> stream, Clock& clock)
      : session_(kj::mv(stream), capnp::rpc::twoparty::Side::CLIENT, clock),
        rpc_(capnp::makeRpcClient(session_.network)),
        bootstrap_(connectBootstrap()) {}

  capnp::Capability::Client bootstrap() override { return bootstrap_; }
  kj::Promise<void> onBroken() override { return session_.network.onDisconnect(); }

 private:
  capnp::Capability::Client connectBootstrap() {
    capnp::MallocMessageBuilder message(4);
    auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
    vat.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc_.bootstrap(vat);
  }

  Session session_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc_;
  capnp::Capability::Client bootstrap_;
};

class RpcServerImpl final : public RpcServer, private kj::TaskSet::ErrorHandler {
 public:
  RpcServerImpl(kj::Own<Listener> listener, Door door, ServerLimits limits)
      : listener_(kj::mv(listener)), door_(kj::mv(door)), limits_(limits), tasks_(*this) {
    tasks_.add(acceptLoop().promise());
  }

  Address address() const override { return listener_->address(); }

 private:
  struct Connection {
    Connection(kj::Own<kj::AsyncIoStream> stream, capnp::Capability::Client door, FrameLimits limits)
        : session(kj::mv(stream), capnp::rpc::twoparty::Side::SERVER, nullptr, limits),
          rpc(capnp::makeRpcServer(session.network, kj::mv(door))) {
      rpc.setFlowLimit(CALL_BYTES_MAX / sizeof(capnp::word));
    }
    Session session;
    capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  };

  Task<void> acceptLoop() {
    for (;;) {
      Accepted accepted = co_await listener_->accept();
      if (connections_ >= limits_.connectionsMax) {
        spdlog::warn("{}: connection of {} closed: {} are open, the most allowed", listener_->address(),
                     accepted.peer.text, connections_);
        continue;
      }
      auto limits = accepted.peer.trust == PeerIdentity::Trust::STRANGER ? STRANGER_LIMITS : FrameLimits();
      auto connection = kj::heap<Connection>(kj::mv(accepted.stream), door_(accepted.peer), limits);
      auto ended = connection->session.network.onDisconnect();
      ++connections_;
      tasks_.add(ended.attach(kj::mv(connection), kj::defer([this]() { --connections_; })));
    }
  }

  void taskFailed(kj::Exception&& e) override {
    spdlog::warn("{}: connection failed: {}", listener_->address(), e.getDescription().cStr());
  }

  kj::Own<Listener> listener_;
  Door door_;
  const ServerLimits limits_;
  uint32_t connections_ = 0;
  kj::TaskSet tasks_;
};

}  // namespace

bool isRetryable(const kj::Exception& e) {
  return e.getType() == kj::Exception::Type::DISCONNECTED || e.getType() == kj::Exception::Type::OVERLOADED;
}

kj::Promise<kj::Own<Link>> dial(Network& network, Clock& clock, Address address, Nanos limit, ExpectedPeer expected) {
  auto connected = network.connect(address, expected).then(
      [&clock](kj::Own<kj::AsyncIoStream>&& stream) -> kj::Own<Link> {
        return kj::heap<LinkImpl>(kj::mv(stream), clock);
      });
  return withDeadline(clock, limit, kj::mv(connected), "connect");
}

Nanos backoffDelay(Random& random, unsigned tries) {
  if (tries == 0) {
    return 0;
  }
  Nanos ceiling = kj::min(BACKOFF_MAX, BACKOFF_FIRST << kj::min(tries - 1, BACKOFF_DOUBLINGS_MAX));
  return static_cast<Nanos>(random.below(static_cast<uint64_t>(ceiling) + 1));
}

kj::Own<RpcServer> serveRpc(kj::Own<Listener> listener, RpcServer::Door door, ServerLimits limits) {
  return kj::heap<RpcServerImpl>(kj::mv(listener), kj::mv(door), limits);
}

}  // namespace cairn
