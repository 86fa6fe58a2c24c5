#include "master/door_service.h"

#include "common/log.h"
#include "master/admin_service.h"
#include "master/audit.h"
#include "master/certificate_service.h"
#include "master/client_service.h"
#include "master/history.h"
#include "master/joining.h"
#include "master/observe/observe_service.h"
#include "master/registration_service.h"
#include "rpc/about.h"
#include "rpc/claims.h"
#include "rpc/hello.h"
#include "rpc/program.h"

namespace cairn {
namespace {

class MasterService final : public wire::Master::Server {
 public:
  // `role` is that of the Hello, which the door has checked.
  MasterService(Lifeline& lifeline, wire::Role role, const PeerIdentity& peer)
      : lifeline_(kj::addRef(lifeline)), role_(role), peer_(peer) {}

  kj::Promise<void> attach(AttachContext context) override {
    demand(wire::Role::CLIENT);
    return lifeline_->run([&](Core& core) { return attach(core, context); });
  }
  kj::Promise<void> register_(RegisterContext context) override {
    demand(wire::Role::CHUNKSERVER);
    bool proven = peer_.trust == PeerIdentity::Trust::CERTIFIED;
    KJ_REQUIRE(!proven || context.getParams().getServer().getName() == peer_.name.name.c_str(),
               "a chunkserver registers under its own name", peer_.text);
    return lifeline_->run([&](Core& core) { return registerServer(core, context); });
  }
  kj::Promise<void> admin(AdminContext context) override {
    demand(wire::Role::ADMIN);
    context.getResults().setAdmin(newAdmin(*lifeline_, auditCaller(context.getParams().getCaller(), peer_)));
    return kj::READY_NOW;
  }
  // Masters too: one that doesn't lead shows people what the leader says.
  kj::Promise<void> observe(ObserveContext context) override {
    if (role_ != wire::Role::MASTER) {
      demand(wire::Role::ADMIN);
    }
    context.getResults().setObserve(newObserve(*lifeline_));
    return kj::READY_NOW;
  }

 private:
  // Each role has its own calls.
  void demand(wire::Role role) const {
    if (role != role_) {
      spdlog::warn("a {} ({}) is refused what only a {} may ask", roleText(fromWire(role_)), peer_.text,
                   roleText(fromWire(role)));
      KJ_FAIL_REQUIRE("this call isn't for that role", roleText(fromWire(role_)), roleText(fromWire(role)));
    }
  }
  Task<void> attach(Core& core, AttachContext context);
  Task<void> registerServer(Core& core, RegisterContext context);

  kj::Own<Lifeline> lifeline_;
  const wire::Role role_;
  const PeerIdentity peer_;
};

Task<void> MasterService::attach(Core& core, AttachContext context) {
  auto params = context.getParams();
  SessionId wanted{params.getSession()};
  std::string name = params.getName().cStr();
  Sessions::Holder holder;
  if (params.hasLeases()) {
    holder = params.getLeases();
  }
  Result<Sessions::Attached> attached = Error{ESTALE, {}};
  if (raw(wanted) == 0) {
    auto opened = co_await core.sessions.open(name, params.getAttempt(), kj::mv(holder));
    attached = opened;
  } else {
    std::vector<InodeId> writing;
    for (uint64_t inode : params.getWriting()) {
      writing.push_back(InodeId{inode});
    }
    attached = core.sessions.takeUp(wanted, params.getAttempt(), kj::mv(holder), writing);
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
  auto obeyed = readHistory(hello.getHistory());
  auto epoch = core.replica.group().epoch();
  std::string server = hello.getName().cStr();
  auto history = checkHistory(core.replica.reader(), epoch, obeyed, core.name, server);
  if (!history.ok()) {
    auto barrier = co_await core.replica.readBarrier();
    if (!barrier.ok()) {
      throwUnwritten(barrier.error());  // it doesn't lead any more: no wonder
    }
    core.chunkservers.disobeyed(hello, history.error().why);
    setOutcome(history, context.getResults().initOutcome());
    co_return;
  }
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
  core.mover.forget(id);
  writeHistory(historyOf(core.replica.reader(), epoch), results.initHistory());
  kj::Maybe<wire::CapsuleKeeper::Client> capsules;
  if (params.hasCapsules()) {
    capsules = params.getCapsules();
  }
  results.setRegistration(newRegistration(*lifeline_, id, incarnation, hello.getName().cStr(), params.getWatcher(),
                                          kj::mv(capsules)));
}

class DoorService final : public wire::MasterDoor::Server {
 public:
  DoorService(Doorway& doorway, PeerIdentity peer) : doorway_(kj::addRef(doorway)), peer_(std::move(peer)) {}

  kj::Promise<void> enter(EnterContext context) override {
    auto hello = context.getParams().getHello();
    auto results = context.getResults();
    auto checked = check(hello);
    if (checked.ok()) {
      checked = checkEpoch(GroupEpoch{hello.getEpoch()});
    }
    if (checked.ok()) {
      checked = checkOffice();
    }
    setOutcome(checked, results.initOutcome());
    auto& group = doorway_->line().group();
    results.setGrouped(group.hasJoined());
    results.setEpoch(raw(group.epoch()));
    if (checked.ok()) {
      results.setMaster(kj::heap<MasterService>(*doorway_->office(), hello.getRole(), peer_));
    } else if (checked.code() == EAGAIN) {
      results.setLeader(doorway_->replica().leaderName());
      results.setLeaderAddress(doorway_->replica().leaderAddress());
    } else {
      turnAway(hello, checked);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> raft(RaftContext context) override {
    auto params = context.getParams();
    auto checked = checkMaster(params.getHello());
    auto& line = doorway_->line();
    if (checked.ok()) {
      checked = meetPeer(params.getHello());
    }
    if (checked.ok() && params.getTo() != raw(line.group().self())) {
      checked = Error{ESTALE, "the data directory of master " + doorway_->name +
                                  " is another than the one that the group "
                                  "knows: if that one is lost for good, run `dfsadmin raft remove " +
                                  doorway_->name + "`, then start this master with --join in an empty directory"};
    }
    setOutcome(checked, context.getResults().initOutcome());
    context.getResults().setEpoch(raw(line.group().epoch()));
    if (checked.ok()) {
      context.getResults().setPeer(newRaftPeer(line, params.getHello().getName().cStr()));
      writeProgram(line.group().program(), context.getResults().initProgram());
    } else if (params.getTo() != 0) {
      turnAway(params.getHello(), checked);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> daemon(DaemonContext context) override {
    auto checked = check(context.getParams().getHello());
    if (checked.ok() && context.getParams().getHello().getRole() != wire::Role::ADMIN) {
      checked = Error{EPERM, "only an admin may ask that of a master"};
    }
    if (checked.ok()) {
      std::string level = context.getParams().getLogLevel().cStr();
      checked = tellAbout(level, doorway_->line().group().program().version, context.getResults().initAbout());
    }
    setOutcome(checked, context.getResults().initOutcome());
    return kj::READY_NOW;
  }

  kj::Promise<void> join(JoinContext context) override { return join(*this, context); }
  kj::Promise<void> renew(RenewContext context) override {
    auto hello = context.getParams().getHello();
    auto checked = check(hello);
    if (checked.ok()) {
      checked = checkOffice();
    }
    if (checked.ok()) {
      // Root on this very host has no certificate to show, and could read the authority's key.
      CertifiedName name{fromWire(hello.getRole()), hello.getName().cStr(), doorway_->cluster};
      bool proven = peer_.trust == PeerIdentity::Trust::CERTIFIED;
      return doorway_->office()->run([&](Core& core) { return renew(core, proven ? peer_.name : name, context); });
    }
    setOutcome(checked, context.getResults().initOutcome());
    context.getResults().setLeader(doorway_->replica().leaderName());
    return kj::READY_NOW;
  }

  kj::Promise<void> authority(AuthorityContext context) override {
    auto checked = checkMaster(context.getParams().getHello());
    auto* authority = doorway_->authority;
    if (checked.ok() && (authority == nullptr || !authority->canSign())) {
      checked = Error{EAGAIN, "this master hasn't got the authority's key"};
    }
    setOutcome(checked, context.getResults().initOutcome());
    if (checked.ok()) {
      context.getResults().setKey(authority->keyPem());
    }
    return kj::READY_NOW;
  }

 private:
  static Task<void> renew(Core& core, CertifiedName name, RenewContext context) {
    std::string request = context.getParams().getRequest().cStr();
    auto renewed = co_await renewCertificate(core, kj::mv(name), kj::mv(request));
    setOutcome(renewed.ok() ? Status() : Status(renewed.error()), context.getResults().initOutcome());
    if (renewed.ok()) {
      context.getResults().setCertificate(renewed.value());
    }
  }

  static Task<void> join(DoorService& self, JoinContext context) {
    auto params = context.getParams();
    auto checked = self.checkMaster(params.getHello());
    if (checked.ok()) {
      MemberAbout about{params.getHello().getName().cStr(), params.getAddress().cStr()};
      raft::MemberId member{params.getMember()};
      auto& group = self.doorway_->line().group();
      checked = co_await group.join(member, about);
    }
    setOutcome(checked, context.getResults().initOutcome());
    if (checked.code() == EAGAIN) {
      context.getResults().setLeader(self.doorway_->replica().leaderName());
    }
  }

  Status checkMaster(wire::Hello::Reader hello) {
    auto checked = check(hello);
    if (checked.ok() && hello.getRole() != wire::Role::MASTER) {
      checked = Error{ESTALE, "only masters may ask that"};
    }
    return checked;
  }

  Status check(wire::Hello::Reader hello) {
    auto claim = checkClaim(peer_, hello);
    if (!claim.ok()) {
      return claim;
    }
    auto cluster = fromWire<ClusterTag>(hello.getCluster());
    if (cluster != doorway_->cluster) {
      return Error{ESTALE, "this master belongs to cluster " + toText(doorway_->cluster) + ", not to " +
                               toText(cluster) + ": use the cluster.toml of the cluster you want to reach"};
    }
    return checkProtocol(hello, "master " + doorway_->name);
  }

  // Callers that aren't masters only learn that this one doesn't count: what they know may be wrong.
  Status checkEpoch(GroupEpoch known) {
    auto own = doorway_->line().group().epoch();
    return known > own ? Status(Error{EAGAIN, replacedGroup(doorway_->name, own, known).why}) : Status();
  }

  // Of two groups under one cluster's name the one with the lower epoch has to go.
  Status meetPeer(wire::Hello::Reader hello) {
    GroupEpoch epoch{hello.getEpoch()};
    auto& group = doorway_->line().group();
    return epoch < group.epoch() ? Status(replacedGroup(hello.getName().cStr(), epoch, group.epoch()))
                                 : group.meetEpoch(epoch);
  }

  Status checkOffice() {
    auto& replica = doorway_->replica();
    if (doorway_->office() == nullptr || !replica.isLeader()) {
      std::string leader = replica.leaderName();
      std::string who = leader.empty() ? "" : "; " + leader + " is";
      return Error{EAGAIN, "master " + doorway_->name + " is not the leader" + who};
    }
    return {};
  }

  void turnAway(wire::Hello::Reader hello, const Status& why) {
    spdlog::warn("\"{}\" ({}) is turned away: {}", hello.getName().cStr(), peer_.text, why.error().why);
  }

  kj::Own<Doorway> doorway_;
  const PeerIdentity peer_;
};

}  // namespace

capnp::Capability::Client newMasterDoor(Doorway& doorway, PeerIdentity peer) {
  if (peer.trust == PeerIdentity::Trust::STRANGER) {
    return newEnrollment(doorway, std::move(peer));
  }
  return kj::heap<DoorService>(doorway, std::move(peer));
}

}  // namespace cairn
