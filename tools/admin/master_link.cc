#include "tools/admin/master_link.h"

#include <cerrno>

#include "fuse-client/client/wire.h"
#include "rpc/hello.h"

namespace cairn::admin {

namespace {

constexpr Nanos DIAL_LIMIT = SECOND;
constexpr Nanos PAUSE = 100 * MILLISECOND;

// What came of one attempt: a link, or the reason why not.
struct Attempt {
  kj::Own<MasterLink> link;
  std::string why;
  bool refused = false;  // final: another attempt gets the same answer
};

Task<Attempt> enter(Context& context, const ClusterFile& cluster, const MasterAddress& master, Address address) {
  Attempt attempt;
  try {
    auto link = co_await dial(context.network, context.clock, address, DIAL_LIMIT, PeerRole::MASTER);
    auto request = link->bootstrap().castAs<wire::MasterDoor>().enterRequest();
    writeHello(request.initHello(), cluster.cluster, wire::Role::ADMIN, "dfsadmin", cluster.epoch);
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    auto reply = co_await withDeadline(context.clock, DIAL_LIMIT, kj::mv(sent), "enter");
    auto outcome = readOutcome(reply.getOutcome());
    if (!outcome.ok()) {
      attempt.why = outcome.error().why;
      attempt.refused = outcome.code() == ESTALE;
      co_return kj::mv(attempt);
    }
    auto leader = reply.getMaster();
    auto asking = leader.adminRequest();
    asking.initCaller().setWho(context.caller);
    asking.getCaller().setCommand(context.command);
    kj::Promise<capnp::Response<wire::Master::AdminResults>> asked = asking.send();
    auto granted = co_await withDeadline(context.clock, DIAL_LIMIT, kj::mv(asked), "admin");
    attempt.link = kj::heap<MasterLink>();
    attempt.link->cluster = cluster;
    attempt.link->name = master.name;
    attempt.link->link = kj::mv(link);
    attempt.link->admin = granted.getAdmin();
    attempt.link->master = kj::mv(leader);
  } catch (kj::Exception& e) {
    attempt.why = e.getDescription().cStr();
  }
  co_return kj::mv(attempt);
}

// Its Unix socket first, where there is one.
Task<Attempt> enterEither(Context& context, const ClusterFile& cluster, const MasterAddress& master) {
  if (!master.socket.empty()) {
    auto attempt = co_await enter(context, cluster, master, "unix:" + master.socket);
    if (attempt.link.get() != nullptr || attempt.refused) {
      co_return kj::mv(attempt);
    }
  }
  co_return co_await enter(context, cluster, master, master.address);
}

}  // namespace

Task<Result<kj::Own<MasterLink>>> findMaster(Context& context, Nanos limit) {
  auto file = readCluster(context);
  if (!file.ok()) {
    co_return file.error();
  }
  const ClusterFile cluster = file.value();
  Nanos end = context.clock.monotonic() + limit;
  std::string reasons;
  do {
    reasons.clear();
    for (const auto& master : cluster.masters) {
      auto attempt = co_await enterEither(context, cluster, master);
      if (attempt.link.get() != nullptr) {
        co_return kj::mv(attempt.link);
      }
      if (attempt.refused) {
        co_return Error{ESTALE, "master " + master.name + " at " + master.address + " refuses: " + attempt.why};
      }
      reasons += "\n  " + master.name + " at " + master.address + ": " + attempt.why;
    }
    co_await context.clock.after(PAUSE);
  } while (context.clock.monotonic() < end);
  co_return Error{ENOTCONN, "no master answers:" + reasons +
                                "\nstart it (tools/dfs up, or dfs-master), or look at its log"};
}

int complainOf(const Error& error) {
  if (error.code == ENOTCONN) {
    return complain(EXIT_UNREACHABLE, "no-master", error.why);
  }
  return complain(EXIT_REFUSED, error.code == ESTALE ? "turned-away" : "cluster-file", error.why);
}

Task<ShardMap> readMap(Context& context, wire::Admin::Client admin) {
  kj::Promise<capnp::Response<wire::Admin::MapResults>> sent = admin.mapRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "map");
  ShardMap map;
  KJ_REQUIRE(map.apply(reply.getMap()), "the master sent a part of the shard map where all of it was asked for");
  co_return kj::mv(map);
}

}  // namespace cairn::admin
