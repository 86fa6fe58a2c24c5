#include "tools/admin/daemons.h"

#include "fuse-client/client/wire.h"
#include "rpc/connection.h"
#include "rpc/hello.h"
#include "schema/chunk.capnp.h"
#include "schema/master.capnp.h"
#include "tools/admin/master_link.h"

namespace cairn::admin {

namespace {

constexpr Nanos DIAL_LIMIT = SECOND;

void take(wire::Outcome::Reader outcome, wire::DaemonAbout::Reader about, DaemonAnswer& answer) {
  auto status = readOutcome(outcome);
  answer.refused = status.ok() ? "" : status.error().why;
  answer.version = about.getVersion().cStr();
  answer.logLevel = about.getLogLevel().cStr();
}

Task<DaemonAnswer> askMaster(Context& context, const ClusterFile& cluster, kj::Own<Link> link, std::string level) {
  auto request = link->bootstrap().castAs<wire::MasterDoor>().daemonRequest();
  writeHello(request.initHello(), cluster.cluster, wire::Role::ADMIN, "dfsadmin", cluster.epoch);
  request.setLogLevel(level);
  kj::Promise<capnp::Response<wire::MasterDoor::DaemonResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "asking a master");
  DaemonAnswer answer;
  take(reply.getOutcome(), reply.getAbout(), answer);
  co_return answer;
}

Task<DaemonAnswer> askServer(Context& context, const ClusterFile& cluster, const DaemonPlace& place, kj::Own<Link> link,
                             std::string level) {
  auto request = link->bootstrap().castAs<wire::ChunkDoor>().daemonRequest();
  writeHello(request.initHello(), cluster.cluster, wire::Role::ADMIN, "dfsadmin", cluster.epoch);
  toWire(place.server, request.initServer());
  request.setLogLevel(level);
  kj::Promise<capnp::Response<wire::ChunkDoor::DaemonResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "asking a chunkserver");
  DaemonAnswer answer;
  take(reply.getOutcome(), reply.getAbout(), answer);
  co_return answer;
}

}  // namespace

std::vector<DaemonPlace> daemonsOf(const Context& context, const ClusterFile& cluster, const ShardMap& map) {
  std::vector<DaemonPlace> places;
  for (const auto& master : cluster.masters) {
    places.push_back({master.name, true, master.addresses(), {}});
  }
  for (const auto& [id, server] : map.servers) {
    DaemonPlace place{server.name, false, {}, id};
    if (!server.socket.empty() && server.hostId == context.hostId) {
      place.addresses.push_back("unix:" + server.socket);
    }
    place.addresses.push_back(server.address);
    places.push_back(place);
  }
  return places;
}

Task<DaemonAnswer> askDaemon(Context& context, const ClusterFile& cluster, const DaemonPlace& place,
                             const std::string& logLevel) {
  DaemonAnswer answer;
  for (const auto& address : place.addresses) {
    try {
      PeerRole role = place.master ? PeerRole::MASTER : PeerRole::CHUNKSERVER;
      auto link = co_await dial(context.network, context.clock, address, DIAL_LIMIT, role);
      if (place.master) {
        co_return co_await askMaster(context, cluster, kj::mv(link), logLevel);
      }
      co_return co_await askServer(context, cluster, place, kj::mv(link), logLevel);
    } catch (const kj::Exception& e) {
      answer.unreachable = e.getDescription().cStr();
    }
  }
  co_return answer;
}

Json daemonJson(const DaemonPlace& place, const DaemonAnswer& answer) {
  bool here = answer.unreachable.empty();
  return {{"name", place.name},
          {"kind", place.master ? "master" : "chunkserver"},
          {"reachable", here},
          {"version", here ? Json(answer.version) : Json(nullptr)},
          {"logLevel", here ? Json(answer.logLevel) : Json(nullptr)}};
}

}  // namespace cairn::admin
