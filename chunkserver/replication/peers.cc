#include "chunkserver/replication/peers.h"

#include "common/log.h"
#include "rpc/hello.h"

namespace cairn {

class Peers::Peer {
 public:
  Peer(Peers& peers, const ServerRecord& record) : peers_(peers), record_(record), keeper_(keep().promise()) {}

  void update(const ServerRecord& record) {
    bool anew = record.incarnation != record_.incarnation || record.address != record_.address;
    record_ = record;
    if (anew) {
      hangUp_.raise();
    }
  }
  void reset() {
    if (peers_.clock_.monotonic() - upSince_ > RELINK_MIN) {
      hangUp_.raise();
    }
  }
  kj::Maybe<wire::PeerService::Client> now() { return client_; }
  kj::Promise<wire::PeerService::Client> connected() {
    KJ_IF_MAYBE (client, client_) {
      return wire::PeerService::Client(*client);
    }
    return up_.next().then([this]() { return connected(); });
  }

 private:
  Task<void> keep() {
    for (unsigned tries = 0;; ++tries) {
      co_await peers_.clock_.after(backoffDelay(peers_.random_, tries));
      bool entered = co_await enter();
      if (!entered) {
        link_ = nullptr;
        continue;
      }
      tries = 0;
      upSince_ = peers_.clock_.monotonic();
      up_.raise();
      co_await link_->onBroken().exclusiveJoin(hangUp_.next());
      co_await nextTurn();  // never take a link down from inside its own event
      client_ = nullptr;
      link_ = nullptr;
    }
  }

  Task<bool> enter() {
    if (!record_.socket.empty() && record_.hostId == peers_.membership_.self().hostId) {
      bool local = co_await enterAt("unix:" + record_.socket);
      if (local) {
        co_return true;
      }
    }
    co_return co_await enterAt(record_.address);
  }

  Task<bool> enterAt(Address address) {
    bool entered = false;
    try {
      auto link = co_await dial(peers_.network_, peers_.clock_, address, DIAL_LIMIT, PeerRole::CHUNKSERVER);
      link_ = kj::mv(link);
      auto request = link_->bootstrap().castAs<wire::ChunkDoor>().enterRequest();
      const SelfIdentity& self = peers_.membership_.self();
      writeHello(request.initHello(), self.cluster, wire::Role::CHUNKSERVER, self.name);
      toWire(record_.id, request.initServer());
      auto sent = request.send();
      kj::Promise<capnp::Response<wire::ChunkDoor::EnterResults>> answered = kj::mv(sent);
      auto response = co_await withDeadline(peers_.clock_, ENTER_LIMIT, kj::mv(answered), "greeting a chunkserver");
      entered = response.getOutcome().getErrno() == 0;
      if (entered) {
        client_ = response.getPeer();
      } else {
        spdlog::warn("chunkserver {} at {} refuses this one: {}", record_.name, address,
                     response.getOutcome().getWhy().cStr());
      }
    } catch (const kj::Exception& e) {
      spdlog::debug("chunkserver {} at {}: {}", record_.name, address, e.getDescription().cStr());
    }
    co_return entered;
  }

  Peers& peers_;
  ServerRecord record_;
  kj::Own<Link> link_;
  kj::Maybe<wire::PeerService::Client> client_;
  Nanos upSince_ = 0;
  Wakeup up_;
  Wakeup hangUp_;
  kj::Promise<void> keeper_;
};

Peers::Peers(Network& network, Clock& clock, Random& random, Membership& membership)
    : network_(network), clock_(clock), random_(random), membership_(membership) {}

Peers::~Peers() noexcept(false) = default;

Peers::Peer* Peers::find(ServerId server) {
  auto it = peers_.find(server);
  if (it != peers_.end()) {
    return it->second.get();
  }
  auto record = membership_.map.servers.find(server);
  if (record == membership_.map.servers.end()) {
    return nullptr;
  }
  return peers_.emplace(server, kj::heap<Peer>(*this, record->second)).first->second.get();
}

void Peers::mapChanged() {
  for (auto& [id, peer] : peers_) {
    auto record = membership_.map.servers.find(id);
    if (record != membership_.map.servers.end()) {
      peer->update(record->second);
    }
  }
}

kj::Maybe<wire::PeerService::Client> Peers::now(ServerId server) {
  if (server == membership_.self().server) {
    return self_;
  }
  Peer* peer = find(server);
  return peer == nullptr ? nullptr : peer->now();
}

kj::Promise<wire::PeerService::Client> Peers::connected(ServerId server) {
  KJ_IF_MAYBE (client, now(server)) {
    return kj::mv(*client);
  }
  Peer* peer = find(server);
  if (peer == nullptr) {
    return KJ_EXCEPTION(DISCONNECTED, "no such chunkserver in the map", toText(server));
  }
  return peer->connected();
}

void Peers::reset(ServerId server) {
  auto it = peers_.find(server);
  if (it != peers_.end()) {
    it->second->reset();
  }
}

}  // namespace cairn
