#include "fuse-client/client/chunk_links.h"

#include "common/log.h"
#include "fuse-client/client/wire.h"
#include "rpc/hello.h"

namespace cairn {

ChunkLink::ChunkLink(Context& context, const ClusterFile& cluster, ServerId server)
    : context_(context), cluster_(cluster), server_(server), ending_(kj::heap<kj::TaskSet>(*this)) {}

ChunkLink::~ChunkLink() noexcept(false) = default;

bool ChunkLink::isReady(const ServerRecord& record) {
  if (live_.get() != nullptr && live_->incarnation != record.incarnation) {
    close();  // another process has that server's identity now
  }
  return live_.get() != nullptr;
}

kj::Promise<void> ChunkLink::connected(const ServerRecord& record) {
  bool same = attempted_ == record.incarnation;
  if (!attempting_ || !same) {
    if (same && context_.clock.monotonic() < retryAt_) {
      return KJ_EXCEPTION(DISCONNECTED, "chunkserver was not reachable a moment ago", record.name.c_str());
    }
    attempted_ = record.incarnation;
    attempting_ = true;
    attempt_ = connect(record).promise().fork();
  }
  return attempt_.addBranch();
}

Task<void> ChunkLink::connect(ServerRecord record) {
  bool done = false;
  bool sameHost = !record.hostId.empty() && record.hostId == context_.options.hostId;
  if (sameHost && !record.socket.empty()) {
    done = co_await connectTo(record, "unix:" + record.socket);
  }
  if (!done) {
    done = co_await connectTo(record, record.address);
  }
  attempting_ = false;
  if (!done) {
    retryAt_ = context_.clock.monotonic() + backoffDelay(context_.random, ++tries_);
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "chunkserver isn't reachable", record.name.c_str()));
  }
  tries_ = 0;
  retryAt_ = 0;
}

Task<bool> ChunkLink::connectTo(const ServerRecord& record, Address address) {
  try {
    auto link = co_await dial(context_.network, context_.clock, address, CONNECT_LIMIT, PeerRole::CHUNKSERVER);
    auto request = link->bootstrap().castAs<wire::ChunkDoor>().enterRequest();
    writeHello(request.initHello(), cluster_.cluster, wire::Role::CLIENT, context_.options.name);
    toWire(server_, request.initServer());
    kj::Promise<capnp::Response<wire::ChunkDoor::EnterResults>> sent = request.send();
    auto reply = co_await withDeadline(context_.clock, CONNECT_LIMIT, kj::mv(sent), "enter");
    Status outcome = readOutcome(reply.getOutcome());
    if (!outcome.ok()) {
      spdlog::warn("chunkserver {} at {} refuses this client: {}", record.name, address, outcome.error().why);
      co_return false;
    }
    auto broken = link->onBroken();
    live_ = kj::heap<Live>(kj::mv(link), record.incarnation, reply.getChunks());
    Live* mine = live_.get();
    auto gone = [this, mine] {
      if (live_.get() == mine) {
        close();
      }
    };
    live_->watch = broken.then(kj::mv(gone)).eagerlyEvaluate(nullptr);
    co_return true;
  } catch (kj::Exception& e) {
    spdlog::debug("chunkserver {} at {}: {}", record.name, address, e.getDescription().cStr());
  }
  co_return false;
}

void ChunkLink::close() {
  // What runs now may be a callback of the connection, so it ends later in this turn.
  if (live_.get() != nullptr) {
    ending_->add(kj::evalLast([old = kj::mv(live_)]() mutable { old = nullptr; }));
  }
}

void ChunkLink::taskFailed(kj::Exception&& e) {
  spdlog::warn("closing a connection to a chunkserver: {}", e.getDescription().cStr());
}

ChunkLink& ChunkLinks::to(ServerId server) {
  auto& link = links_[server];
  if (link.get() == nullptr) {
    link = kj::heap<ChunkLink>(context_, cluster_, server);
  }
  return *link;
}

}  // namespace cairn
