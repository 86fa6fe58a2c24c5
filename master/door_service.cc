#include "master/door_service.h"

#include "common/log.h"
#include "master/admin_service.h"
#include "master/audit.h"
#include "master/client_service.h"
#include "master/history.h"
#include "master/joining.h"
#include "master/registration_service.h"
#include "rpc/about.h"
#include "rpc/hello.h"
#include "rpc/program.h"

namespace cairn {
namespace {

class MasterService final : public wire::Master::Server {
 public:
  MasterService(Lifeline& lifeline, PeerIdentity peer) : lifeline_(kj::addRef(lifeline)), peer_(std::move(peer)) {}

  kj::Promise<void> attach(AttachContext context) override {
    return lifeline_->run([&](Core& core) { return attach(core, context); });
  }
  kj::Promise<void> register_(RegisterContext context) override {
    return lifeline_->run([&](Core& core) { return registerServer(core, context); });
  }
  kj::Promise<void> admin(AdminContext context) override {
    context.getResults().setAdmin(newAdmin(*lifeline_, auditCaller(context.getParams().getCaller(), peer_)));
    return kj::READY_NOW;
  }

 private:
  Task<void> attach(Core& core, AttachContext context);
  Task<void> registerServer(Core& core, RegisterContext context);

  kj::Own<Lifeline> lifeline_;
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
  results.setRegistration(newRegistration(*lifeline_, id, incarnation, hello.getName().cStr(), params.getWatcher()));
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
      results.setMaster(kj::heap<MasterService>(*doorway_->office(), peer_));
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
    auto checked = check(params.getHello());
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
    if (checked.ok()) {
      std::string level = context.getParams().getLogLevel().cStr();
      checked = tellAbout(level, doorway_->version, context.getResults().initAbout());
    }
    setOutcome(checked, context.getResults().initOutcome());
    return kj::READY_NOW;
  }

  kj::Promise<void> join(JoinContext context) override { return join(*this, context); }

 private:
  static Task<void> join(DoorService& self, JoinContext context) {
    auto params = context.getParams();
    auto checked = self.check(params.getHello());
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

  Status check(wire::Hello::Reader hello) {
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

wire::MasterDoor::Client newMasterDoor(Doorway& doorway, PeerIdentity peer) {
  return kj::heap<DoorService>(doorway, std::move(peer));
}

}  // namespace cairn
