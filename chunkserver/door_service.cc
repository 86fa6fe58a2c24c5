#include "chunkserver/door_service.h"

#include <kj/debug.h>

#include <cerrno>

#include "common/log.h"
#include "rpc/about.h"
#include "rpc/claims.h"
#include "rpc/hello.h"

namespace cairn {
namespace {

class ChunkDoorServer final : public wire::ChunkDoor::Server {
 public:
  ChunkDoorServer(kj::Own<ServiceGate> gate, const Membership& membership, wire::ChunkService::Client chunks,
                  wire::PeerService::Client peer, PeerIdentity identity, std::string version)
      : gate_(kj::mv(gate)),
        membership_(membership),
        chunks_(kj::mv(chunks)),
        peer_(kj::mv(peer)),
        identity_(std::move(identity)),
        version_(std::move(version)) {}

  kj::Promise<void> enter(EnterContext context) override {
    if (gate_->closed()) {
      return KJ_EXCEPTION(DISCONNECTED, "the chunkserver has stopped");
    }
    auto params = context.getParams();
    auto results = context.getResults();
    std::string why = refusal(params.getHello(), params.getServer());
    if (!why.empty()) {
      spdlog::warn("refused {}: {}", params.getHello().getName().cStr(), why);
      results.initOutcome().setErrno(ESTALE);
      results.getOutcome().setWhy(why);
      return kj::READY_NOW;
    }
    results.initOutcome();
    results.setChunks(chunks_);
    if (params.getHello().getRole() == wire::Role::CHUNKSERVER) {
      results.setPeer(peer_);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> daemon(DaemonContext context) override {
    if (gate_->closed()) {
      return KJ_EXCEPTION(DISCONNECTED, "the chunkserver has stopped");
    }
    auto params = context.getParams();
    std::string why = refusal(params.getHello(), params.getServer());
    if (why.empty() && params.getHello().getRole() != wire::Role::ADMIN) {
      why = "only an admin may ask that of a chunkserver";
    }
    Status told = why.empty() ? tellAbout(params.getLogLevel().cStr(), version_, context.getResults().initAbout())
                              : Status(Error{ESTALE, why});
    auto outcome = context.getResults().initOutcome();
    outcome.setErrno(told.code());
    if (!told.ok()) {
      outcome.setWhy(told.error().why);
    }
    return kj::READY_NOW;
  }

 private:
  std::string refusal(wire::Hello::Reader hello, wire::Uuid::Reader wanted) const {
    const SelfIdentity& self = membership_.self();
    auto claim = checkClaim(identity_, hello);
    if (!claim.ok()) {
      return claim.error().why;
    }
    auto cluster = fromWire<ClusterTag>(hello.getCluster());
    auto server = fromWire<ServerTag>(wanted);
    if (cluster != self.cluster) {
      return "this is a chunkserver of cluster " + toText(self.cluster) + ", not of " + toText(cluster);
    }
    auto spoken = checkProtocol(hello, "chunkserver " + self.name);
    if (!spoken.ok()) {
      return spoken.error().why;
    }
    if (!server.isNull() && server != self.server) {
      return "this is chunkserver " + toText(self.server) + ", not " + toText(server);
    }
    return {};
  }

  kj::Own<ServiceGate> gate_;
  const Membership& membership_;
  wire::ChunkService::Client chunks_;
  wire::PeerService::Client peer_;
  const PeerIdentity identity_;
  const std::string version_;
};

}  // namespace

wire::ChunkDoor::Client newChunkDoor(ServiceGate& gate, const Membership& membership, wire::ChunkService::Client chunks,
                                     wire::PeerService::Client peer, PeerIdentity identity, std::string version) {
  return kj::heap<ChunkDoorServer>(kj::addRef(gate), membership, kj::mv(chunks), kj::mv(peer), std::move(identity),
                                   std::move(version));
}

}  // namespace cairn
