#include "master/door_service.h"

#include "common/log.h"
#include "master/admin_service.h"
#include "master/client_service.h"
#include "master/registration_service.h"

namespace cairn {
namespace {

class MasterService final : public wire::Master::Server {
 public:
  explicit MasterService(Lifeline& lifeline) : lifeline_(kj::addRef(lifeline)) {}

  kj::Promise<void> attach(AttachContext context) override {
    return lifeline_->run([&](Core& core) { return attach(core, context); });
  }
  kj::Promise<void> register_(RegisterContext context) override {
    return lifeline_->run([&](Core& core) { return registerServer(core, context); });
  }
  kj::Promise<void> admin(AdminContext context) override {
    context.getResults().setAdmin(newAdmin(*lifeline_));
    return kj::READY_NOW;
  }

 private:
  Task<void> attach(Core& core, AttachContext context);
  Task<void> registerServer(Core& core, RegisterContext context);

  kj::Own<Lifeline> lifeline_;
};

Task<void> MasterService::attach(Core& core, AttachContext context) {
  auto params = context.getParams();
  SessionId wanted{params.getSession()};
  std::string name = params.getName().cStr();
  Result<Sessions::Attached> attached = core.sessions.takeUp(wanted);
  if (raw(wanted) == 0) {
    auto opened = co_await core.sessions.open(name);
    attached = opened;
  }
  auto results = context.getResults();
  if (!attached.ok()) {
    spdlog::info("client {} is not attached: {}", name, attached.error().why);
    setOutcome(attached.error(), results.initOutcome());
    co_return;
  }
  auto barrier = co_await core.replica.readBarrier();  // a lease is worth something only from a real leader
  if (!barrier.ok()) {
    core.sessions.linkLost(attached.value().session, attached.value().link);
    throwUnwritten(barrier.error());
  }
  auto session = attached.value();
  Core* target = &core;
  auto lost = [target, session] { target->sessions.linkLost(session.session, session.link); };
  uint64_t watcher = core.publisher.add(params.getWatcher(), "client " + name, kj::mv(lost));
  if (watcher == 0) {
    core.sessions.linkLost(session.session, session.link);
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many clients and chunkservers follow the map"));
  }
  results.setSession(raw(session.session));
  results.setLeaseNanos(SESSION_LEASE);
  results.setClient(newClientSession(*lifeline_, session, watcher));
}

Task<void> MasterService::registerServer(Core& core, RegisterContext context) {
  auto params = context.getParams();
  auto hello = params.getServer();
  auto arrived = core.chunkservers.arrive(hello);
  if (arrived.code() == EEXIST) {
    // Its machine may have lost power and come back so fast that the link of its earlier life isn't known to be dead.
    co_await core.clock.after(REPLACE_AFTER + REPLACE_AFTER / 4);
    arrived = core.chunkservers.arrive(hello);
  }
  auto results = context.getResults();
  setOutcome(arrived, results.initOutcome());
  if (!arrived.ok()) {
    spdlog::warn("chunkserver {} at {} is refused: {}", hello.getName().cStr(), hello.getAddress().cStr(),
                 arrived.error().why);
    co_return;
  }
  auto id = fromWire<ServerTag>(hello.getId());
  auto incarnation = fromWire<IncarnationTag>(hello.getIncarnation());
  core.cleanup.forget(id);
  results.setRegistration(newRegistration(*lifeline_, id, incarnation, hello.getName().cStr(), params.getWatcher()));
}

class DoorService final : public wire::MasterDoor::Server {
 public:
  DoorService(Lifeline& lifeline, PeerIdentity peer) : lifeline_(kj::addRef(lifeline)), peer_(std::move(peer)) {}

  kj::Promise<void> enter(EnterContext context) override {
    return lifeline_->run([&](Core& core) { return enter(core, context); });
  }

 private:
  kj::Promise<void> enter(Core& core, EnterContext context) {
    auto hello = context.getParams().getHello();
    auto results = context.getResults();
    auto checked = check(core, hello);
    setOutcome(checked, results.initOutcome());
    if (checked.ok()) {
      results.setMaster(kj::heap<MasterService>(*lifeline_));
    } else if (checked.code() == EAGAIN) {
      results.setLeader(core.replica.leaderName());
    } else {
      spdlog::warn("\"{}\" ({}) is turned away: {}", hello.getName().cStr(), peer_.text, checked.error().why);
    }
    return kj::READY_NOW;
  }

  static Status check(Core& core, wire::Hello::Reader hello) {
    auto cluster = fromWire<ClusterTag>(hello.getCluster());
    if (cluster != core.cluster.cluster) {
      return Error{ESTALE, "this master belongs to cluster " + toText(core.cluster.cluster) + ", not to " +
                               toText(cluster) + ": use the cluster.toml of the cluster you want to reach"};
    }
    if (hello.getProtocol() != wire::PROTOCOL) {
      return Error{ESTALE, "this master speaks protocol " + std::to_string(wire::PROTOCOL) + ", the caller " +
                               std::to_string(hello.getProtocol()) + ": run the same version everywhere"};
    }
    if (!core.replica.isLeader()) {
      std::string leader = core.replica.leaderName();
      std::string who = leader.empty() ? "" : "; " + leader + " is";
      return Error{EAGAIN, "master " + core.name + " is not the leader" + who};
    }
    return {};
  }

  kj::Own<Lifeline> lifeline_;
  const PeerIdentity peer_;
};

}  // namespace

wire::MasterDoor::Client newMasterDoor(Lifeline& lifeline, PeerIdentity peer) {
  return kj::heap<DoorService>(lifeline, std::move(peer));
}

}  // namespace cairn
