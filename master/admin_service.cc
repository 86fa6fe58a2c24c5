#include "master/admin_service.h"

#include <sys/stat.h>

#include <algorithm>

#include "common/log.h"
#include "master/admin_copies.h"
#include "master/admin_group.h"
#include "master/admin_leases.h"
#include "master/admin_locks.h"
#include "master/admin_quota.h"
#include "master/admin_trash.h"
#include "master/health.h"
#include "master/replicas.h"
#include "master/server_states.h"
#include "master/upgrade.h"

namespace cairn {
namespace {

const char* stateText(wire::ServerState state) {
  switch (state) {
    case wire::ServerState::IN_SERVICE:
      return "in-service";
    case wire::ServerState::MAINTENANCE:
      return "maintenance";
    case wire::ServerState::DRAINING:
      return "draining";
    case wire::ServerState::DRAINED:
      return "drained";
    case wire::ServerState::DEAD:
      return "dead";
  }
  return "unknown";
}

void writeReasons(const Health& health, wire::ClusterStatus::Builder out) {
  out.setHealth(health.level());
  auto list = out.initReasons(health.reasons.size());
  for (uint32_t i = 0; i < health.reasons.size(); ++i) {
    list[i].setCode(health.reasons[i].code);
    list[i].setText(health.reasons[i].text);
    list[i].setAction(health.reasons[i].action);
    list[i].setCritical(health.reasons[i].critical);
  }
  auto shards = out.initShards();
  shards.setTotal(health.shards.total);
  shards.setHealthy(health.shards.healthy);
  shards.setDegraded(health.shards.degraded);
  shards.setAtRisk(health.shards.atRisk);
  shards.setUnavailable(health.shards.unavailable);
  shards.setMisplaced(health.shards.misplaced);
}

void writeVolumes(const ShardMap& map, const Roster::Member* member, ServerId server, wire::ServerStatus::Builder out) {
  std::vector<const VolumeRecord*> volumes;
  for (auto& [number, volume] : map.volumes) {
    if (volume.server == server) {
      volumes.push_back(&volume);
    }
  }
  auto list = out.initVolumes(volumes.size());
  for (uint32_t i = 0; i < volumes.size(); ++i) {
    list[i].setNumber(raw(volumes[i]->number));
    toWire(volumes[i]->id, list[i].initId());
    bool known = member != nullptr && member->volumes.contains(volumes[i]->id);
    if (!known) {
      list[i].setState("missing");
      continue;
    }
    auto& state = member->volumes.at(volumes[i]->id);
    list[i].setState(!state.usable ? "failed" : member->alive ? "online" : "offline");
    list[i].setUsedBytes(state.usedBytes);
    list[i].setRetiredBytes(state.retiredBytes);
    writeHeld(state.held, list[i].initHeld());
    list[i].setTotalBytes(state.totalBytes);
    list[i].setBadBlocks(state.badBlocks);
    list[i].setAdoptedBlocks(state.adoptedBlocks);
    list[i].setOwnBytes(state.ownBytes);
    list[i].setUnmendedBlocks(state.unmendedBlocks);
    list[i].setDifferingChunks(state.differingChunks);
    list[i].setSlow(state.slow);
  }
}

void writeServers(Core& core, wire::ClusterStatus::Builder out) {
  auto& map = core.replica.reader().map();
  auto list = out.initServers(map.servers.size());
  uint32_t i = 0;
  for (auto& [id, record] : map.servers) {
    auto item = list[i++];
    const Roster::Member* member = core.chunkservers.roster().member(id);
    item.setName(record.name);
    item.setAddress(record.address);
    item.setState(stateText(record.state));
    item.setOnline(member != nullptr && member->alive);
    item.setRack(record.rack);
    item.setZone(record.zone);
    item.setVersion(core.chunkservers.program(id).value_or(Program{}).version);
    if (member != nullptr && member->maintenanceSince != 0) {
      Nanos left = member->maintenanceSince + record.maintenanceSeconds * SECOND - core.clock.monotonic();
      item.setMaintenanceSecondsLeft(static_cast<uint32_t>(std::max<Nanos>(left, 0) / SECOND));
    }
    writeVolumes(map, member, id, item);
  }
}

void writeLevel(Core& core, wire::ClusterStatus::Builder out) {
  out.setLevel(core.replica.reader().featureLevel());
  auto names = levelHeldBy(core.replica, core.chunkservers);
  auto list = out.initLevelHeldBy(static_cast<unsigned>(names.size()));
  for (unsigned i = 0; i < names.size(); ++i) {
    list.set(i, names[i]);
  }
}

class AdminService final : public wire::Admin::Server {
 public:
  explicit AdminService(Lifeline& lifeline) : lifeline_(kj::addRef(lifeline)) {}

  kj::Promise<void> status(StatusContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeStatus(core, context.getResults().initStatus());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> map(MapContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      core.replica.reader().map().encode(context.getResults().initMap(), MapVersion{});
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> resolve(ResolveContext context) override {
    return lifeline_->run([&](Core& core) { return resolve(core, context); });
  }
  kj::Promise<void> sessions(SessionsContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      listSessions(core, context);
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> evict(EvictContext context) override {
    return lifeline_->run([&](Core& core) { return evict(core, context); });
  }
  kj::Promise<void> locks(LocksContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeLocks(core, context.getResults());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> leases(LeasesContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeLeases(core, InodeId{context.getParams().getInode()}, context.getResults());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> breakLock(BreakLockContext context) override {
    return lifeline_->run([&](Core& core) { return breakLock(core, context); });
  }
  kj::Promise<void> raft(RaftContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeGroup(core.replica.group().status(), context.getResults().initGroup());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> agreeRemoval(AgreeRemovalContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      setOutcome(core.chunkservers.agree(context.getParams().getPlan()), context.getResults().initOutcome());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> raftChange(RaftChangeContext context) override {
    return lifeline_->run([&](Core& core) { return change(core, context); });
  }
  kj::Promise<void> changeServer(ChangeServerContext context) override {
    return lifeline_->run([&](Core& core) { return changeState(core, context); });
  }
  kj::Promise<void> forceShard(ForceShardContext context) override {
    return lifeline_->run([&](Core& core) { return force(core, context); });
  }
  kj::Promise<void> setReplicas(SetReplicasContext context) override {
    return lifeline_->run([&](Core& core) { return replicas(core, context); });
  }
  kj::Promise<void> copyTasks(CopyTasksContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeCopyTasks(core, context.getResults());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> cancelCopyTask(CancelCopyTaskContext context) override {
    return lifeline_->run([&](Core& core) { return cancelCopy(core, context); });
  }
  kj::Promise<void> trash(TrashContext context) override {
    return lifeline_->run([&](Core& core) { return listTrash(core, context); });
  }
  kj::Promise<void> restoreTrash(RestoreTrashContext context) override {
    return lifeline_->run([&](Core& core) { return cairn::restoreTrash(core, context); });
  }
  kj::Promise<void> purgeTrash(PurgeTrashContext context) override {
    return lifeline_->run([&](Core& core) { return cairn::purgeTrash(core, context); });
  }
  kj::Promise<void> setTrash(SetTrashContext context) override {
    return lifeline_->run([&](Core& core) { return cairn::setTrash(core, context); });
  }
  kj::Promise<void> setQuota(SetQuotaContext context) override {
    return lifeline_->run([&](Core& core) { return cairn::setQuota(core, context); });
  }
  kj::Promise<void> quotas(QuotasContext context) override {
    return lifeline_->run([&](Core& core) { return listQuotas(core, context); });
  }
  kj::Promise<void> raftDigest(RaftDigestContext context) override {
    return lifeline_->run([&](Core& core) { return digest(core, context); });
  }

 private:
  Task<void> changeState(Core& core, ChangeServerContext context);
  Task<void> force(Core& core, ForceShardContext context);
  Task<void> cancelCopy(Core& core, CancelCopyTaskContext context);
  Task<void> replicas(Core& core, SetReplicasContext context);
  Task<void> change(Core& core, RaftChangeContext context);
  Task<void> digest(Core& core, RaftDigestContext context);
  Task<void> resolve(Core& core, ResolveContext context);
  void listSessions(Core& core, SessionsContext context);
  Task<void> evict(Core& core, EvictContext context);
  Task<void> breakLock(Core& core, BreakLockContext context);

  kj::Own<Lifeline> lifeline_;
};

Task<void> AdminService::resolve(Core& core, ResolveContext context) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  auto path = context.getParams().getPath();
  auto results = context.getResults();
  std::string_view text(path.asChars().begin(), path.size());
  auto attributes = results.initAttributes();
  auto found = core.replica.reader().resolve(text, attributes);
  if (found.ok() && S_ISDIR(attributes.getMode())) {  // of what is made in it
    auto cls = core.replica.reader().classOf(InodeId{attributes.getInode()});
    attributes.initLayout().setClass(cls.ok() ? raw(cls.value()) : uint16_t{0});
  }
  setOutcome(found, results.initOutcome());
}

void AdminService::listSessions(Core& core, SessionsContext context) {
  auto sessions = core.sessions.table().list();
  auto out = context.getResults().initSessions(sessions.size());
  for (uint32_t i = 0; i < sessions.size(); ++i) {
    out[i].setId(raw(sessions[i].id));
    out[i].setName(sessions[i].name);
    out[i].setHolds(static_cast<uint32_t>(sessions[i].holds));
    out[i].setLeaseNanosLeft(sessions[i].leaseEnd - core.clock.monotonic());
    out[i].setAttached(sessions[i].attached);
  }
}

Task<void> AdminService::evict(Core& core, EvictContext context) {
  SessionId session{context.getParams().getSession()};
  spdlog::warn("session {} is being evicted by an administrator", raw(session));
  auto ended = co_await core.sessions.end(session);
  setOutcome(ended, context.getResults().initOutcome());
}

Task<void> AdminService::breakLock(Core& core, BreakLockContext context) {
  auto done = co_await cairn::breakLock(core, context.getParams().getLock());
  setOutcome(done, context.getResults().initOutcome());
}

Task<void> AdminService::digest(Core& core, RaftDigestContext context) {
  auto compared = co_await core.replica.group().compareDigests();
  writeDigests(compared, context.getResults());
}

Task<void> AdminService::changeState(Core& core, ChangeServerContext context) {
  auto params = context.getParams();
  std::string name = params.getName().cStr();
  auto done = co_await cairn::changeServer(core.replica, core.chunkservers.roster(), core.clock.monotonic(), name,
                                    params.getChange(), params.getSeconds());
  setOutcome(done, context.getResults().initOutcome());
}

Task<void> AdminService::force(Core& core, ForceShardContext context) {
  auto params = context.getParams();
  ShardId shard{params.getShard()};
  VolumeNumber volume{params.getVolume()};
  auto done = co_await cairn::forceShard(core.replica, core.chunkservers.roster(), shard, volume, params.getApply());
  setOutcome(done, context.getResults().initOutcome());
}

Task<void> AdminService::cancelCopy(Core& core, CancelCopyTaskContext context) {
  auto ended = co_await core.mover.cancel(context.getParams().getTask());
  setOutcome(ended, context.getResults().initOutcome());
}

Task<void> AdminService::replicas(Core& core, SetReplicasContext context) {
  auto params = context.getParams();
  ReplicasWish wish;
  wish.path = std::string(params.getPath().asChars().begin(), params.getPath().size());
  wish.cls.copies = params.getCopies();
  wish.cls.level = params.getLevel();
  wish.existing = params.getExisting();
  wish.apply = params.getApply();
  auto done = co_await cairn::setReplicas(core, wish);
  auto outcome = context.getResults().initOutcome();
  if (!done.ok()) {
    setOutcome(done.error(), outcome);
    co_return;
  }
  outcome.setWhy(done.value().text);
  context.getResults().setTask(done.value().task);
}

// A change may end this office, and with it this call: the caller looks at what came of it, whoever leads then.
Task<void> AdminService::change(Core& core, RaftChangeContext context) {
  auto params = context.getParams();
  std::string name = params.getName().cStr();
  auto done = co_await changeGroup(core.replica.group(), params.getChange(), name);
  setOutcome(done, context.getResults().initOutcome());
}

}  // namespace

void writeStatus(Core& core, wire::ClusterStatus::Builder out) {
  auto& roster = core.chunkservers.roster();
  auto& map = core.replica.reader().map();
  HealthInput input{map, roster};
  auto group = core.replica.group().status();
  input.masters = standingOf(core, group);
  input.disobedience = core.chunkservers.disobedience();
  input.serversWanted = core.cluster.servers;
  input.ownAvailableBytes = core.ownSpace.availableBytes();
  input.ownSpaceShort = core.ownSpace.isShort();
  input.ownSpaceLow = core.ownSpace.isLow();
  input.now = core.clock.monotonic();
  input.spared = judge(map, roster, core.chunkservers.rules(), input.now).spared;
  input.pending = &core.chunkservers.pending();
  writeReasons(assess(input), out);
  writeMasters(core, group, out);
  writeServers(core, out);
  writeSpace(core.replica.reader(), roster, ROOT_INODE, out.initSpace());
  out.setSessions(static_cast<uint32_t>(core.sessions.table().size()));
  out.setVersion(core.version);
  out.setReclaimBacklog(core.cleanup.backlog());
  writeLevel(core, out);
  out.setRepairBytesLeft(repairBytesLeft(map, roster, core.chunkservers.pending()));
  out.setRepairBytesPerSecond(core.chunkservers.repair().bytesPerSecond(input.now));
}

wire::Admin::Client newAdmin(Lifeline& lifeline) {
  return kj::heap<AdminService>(lifeline);
}

}  // namespace cairn
