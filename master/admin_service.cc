#include "master/admin_service.h"

#include <sys/stat.h>

#include <algorithm>

#include "common/log.h"
#include "master/admin_copies.h"
#include "master/admin_group.h"
#include "master/admin_inode.h"
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

std::string pathText(capnp::Data::Reader path) {
  return {path.asChars().begin(), path.size()};
}

std::string hexText(uint64_t number) {
  char text[2 * sizeof(number) + 1];
  snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(number));
  return text;
}

std::string describeBreak(wire::LockInfo::Reader lock) {
  return "lock break: inode " + std::to_string(lock.getLock().getInode()) + " of session " +
         std::to_string(lock.getSession());
}

class AdminService final : public wire::Admin::Server {
 public:
  AdminService(Lifeline& lifeline, AuditCaller caller)
      : lifeline_(kj::addRef(lifeline)), caller_(std::move(caller)) {}

  kj::Promise<void> status(StatusContext context) override {
    return lifeline_->run([&](Core& core) { return status(core, context); });
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
    return act("session evict " + std::to_string(context.getParams().getSession()), context, &evictSession);
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
    return act(describeBreak(context.getParams().getLock()), context, &breakOne);
  }
  kj::Promise<void> raft(RaftContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeGroup(core.replica.group().status(), context.getResults().initGroup());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> agreeRemoval(AgreeRemovalContext context) override {
    return act("removal apply " + hexText(context.getParams().getPlan()), context, &agree);
  }
  kj::Promise<void> raftChange(RaftChangeContext context) override {
    return act(describeChange(context.getParams()), context, &change);
  }
  kj::Promise<void> changeServer(ChangeServerContext context) override {
    return act(describeState(context.getParams()), context, &changeState);
  }
  kj::Promise<void> forceShard(ForceShardContext context) override {
    auto params = context.getParams();
    std::string volume = ": volume " + std::to_string(params.getVolume());
    std::string what = "shard force " + std::to_string(params.getShard()) + volume;
    return params.getApply() ? act(what, context, &force) : look(context, &force);
  }
  kj::Promise<void> setReplicas(SetReplicasContext context) override {
    auto params = context.getParams();
    std::string what = "replicas set " + pathText(params.getPath()) + " " + std::to_string(params.getCopies());
    return params.getApply() ? act(what, context, &replicas) : look(context, &replicas);
  }
  kj::Promise<void> copyTasks(CopyTasksContext context) override {
    return lifeline_->run([&](Core& core) -> kj::Promise<void> {
      writeCopyTasks(core, context.getResults());
      return kj::READY_NOW;
    });
  }
  kj::Promise<void> cancelCopyTask(CancelCopyTaskContext context) override {
    return act("task cancel " + std::to_string(context.getParams().getTask()), context, &cancelCopy);
  }
  kj::Promise<void> trash(TrashContext context) override {
    return lifeline_->run([&](Core& core) { return listTrash(core, context); });
  }
  kj::Promise<void> restoreTrash(RestoreTrashContext context) override {
    auto params = context.getParams();
    std::string to = params.getTo().size() > 0 ? " to " + pathText(params.getTo()) : "";
    return act("trash restore " + std::to_string(params.getItem()) + to, context, &cairn::restoreTrash);
  }
  kj::Promise<void> purgeTrash(PurgeTrashContext context) override {
    auto params = context.getParams();
    std::string older = "all deleted " + std::to_string(params.getOlderThanSeconds()) + " s ago";
    std::string what = params.getItem() == 0 ? older : std::to_string(params.getItem());
    return act("trash purge " + what, context, &cairn::purgeTrash);
  }
  kj::Promise<void> setTrash(SetTrashContext context) override {
    auto params = context.getParams();
    uint64_t seconds = params.getSeconds();
    std::string keep = seconds == Account::AS_ABOVE ? "default" : std::to_string(seconds) + " s";
    return act("trash set " + pathText(params.getPath()) + " " + keep, context, &cairn::setTrash);
  }
  kj::Promise<void> setQuota(SetQuotaContext context) override {
    auto params = context.getParams();
    return act("quota set " + pathText(params.getPath()) + ": bytes " + std::to_string(params.getBytesMax()) +
                   ", files " + std::to_string(params.getFilesMax()) + " (0: no limit)",
               context, &cairn::setQuota);
  }
  kj::Promise<void> quotas(QuotasContext context) override {
    return lifeline_->run([&](Core& core) { return listQuotas(core, context); });
  }
  kj::Promise<void> raftDigest(RaftDigestContext context) override {
    return lifeline_->run([&](Core& core) { return digest(core, context); });
  }

  kj::Promise<void> history(HistoryContext context) override { return look(context, &readHistory); }
  kj::Promise<void> paths(PathsContext context) override { return look(context, &findPaths); }
  kj::Promise<void> settings(SettingsContext context) override { return look(context, &readSettings); }
  kj::Promise<void> changeSetting(ChangeSettingContext context) override {
    auto change = context.getParams().getChange();
    std::string value = change.getReset() ? "default" : std::to_string(change.getValue());
    return act("config set " + std::string(change.getName().cStr()) + " " + value, context, &changeOne);
  }
  kj::Promise<void> beginAction(BeginActionContext context) override {
    return lifeline_->run([&](Core& core) { return begin(core, context); });
  }
  kj::Promise<void> endAction(EndActionContext context) override { return look(context, &end); }

 private:
  // What changes something is in the history; what only looks isn't.
  template <typename Context>
  kj::Promise<void> act(std::string action, Context context, Task<void> (*run)(Core&, Context)) {
    return lifeline_->run([&](Core& core) { return recorded(core, caller_, kj::mv(action), context, run); });
  }
  template <typename Context>
  kj::Promise<void> look(Context context, Task<void> (*run)(Core&, Context)) {
    return lifeline_->run([&](Core& core) { return run(core, context); });
  }
  static Task<void> evictSession(Core& core, EvictContext context);
  static Task<void> breakOne(Core& core, BreakLockContext context);
  static Task<void> agree(Core& core, AgreeRemovalContext context);
  static Task<void> changeState(Core& core, ChangeServerContext context);
  static Task<void> force(Core& core, ForceShardContext context);
  static Task<void> cancelCopy(Core& core, CancelCopyTaskContext context);
  static Task<void> replicas(Core& core, SetReplicasContext context);
  static Task<void> change(Core& core, RaftChangeContext context);
  static Task<void> readHistory(Core& core, HistoryContext context);
  static Task<void> readSettings(Core& core, SettingsContext context);
  static Task<void> changeOne(Core& core, ChangeSettingContext context);
  Task<void> begin(Core& core, BeginActionContext context);
  static Task<void> end(Core& core, EndActionContext context);
  static std::string describeState(ChangeServerParams::Reader params);
  static std::string describeChange(RaftChangeParams::Reader params);
  Task<void> digest(Core& core, RaftDigestContext context);
  kj::Promise<void> status(Core& core, StatusContext context);
  Task<void> resolve(Core& core, ResolveContext context);
  void listSessions(Core& core, SessionsContext context);

  kj::Own<Lifeline> lifeline_;
  const AuditCaller caller_;
};

kj::Promise<void> AdminService::status(Core& core, StatusContext context) {
  auto out = context.getResults().initStatus();
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
  return kj::READY_NOW;
}

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

Task<void> AdminService::evictSession(Core& core, EvictContext context) {
  SessionId session{context.getParams().getSession()};
  spdlog::warn("session {} is being evicted by an administrator", raw(session));
  auto ended = co_await core.sessions.end(session);
  setOutcome(ended, context.getResults().initOutcome());
}

Task<void> AdminService::breakOne(Core& core, BreakLockContext context) {
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

Task<void> AdminService::agree(Core& core, AgreeRemovalContext context) {
  setOutcome(core.chunkservers.agree(context.getParams().getPlan()), context.getResults().initOutcome());
  co_return;
}

Task<void> AdminService::readHistory(Core& core, HistoryContext context) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  writeHistory(core.replica.reader(), context.getParams().getItemsMax(), context.getResults());
}

Task<void> AdminService::readSettings(Core& core, SettingsContext context) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  writeSettings(core, context.getResults());
}

Task<void> AdminService::changeOne(Core& core, ChangeSettingContext context) {
  auto change = context.getParams().getChange();
  std::string name = change.getName().cStr();
  auto done = co_await cairn::changeSetting(core.replica, name, change.getValue(), change.getReset());
  setOutcome(done, context.getResults().initOutcome());
}

Task<void> AdminService::begin(Core& core, BeginActionContext context) {
  std::string action = context.getParams().getAction().cStr();
  auto begun = co_await cairn::beginAction(core.replica, caller_, action);
  if (!begun.ok()) {
    throwUnwritten(begun.error());
  }
  context.getResults().initOutcome();
  context.getResults().setId(begun.value());
}

Task<void> AdminService::end(Core& core, EndActionContext context) {
  auto params = context.getParams();
  Status outcome;
  if (params.getOutcome().getErrno() != 0) {
    outcome = Error{params.getOutcome().getErrno(), params.getOutcome().getWhy().cStr()};
  }
  auto ended = co_await cairn::endAction(core.replica, params.getId(), outcome);
  setOutcome(ended, context.getResults().initOutcome());
}

std::string AdminService::describeState(ChangeServerParams::Reader params) {
  std::string name = params.getName().cStr();
  switch (params.getChange()) {
    case wire::ServerChange::DRAIN:
      return "node drain " + name;
    case wire::ServerChange::MAINTAIN:
      return "node maintenance " + name + " for " + std::to_string(params.getSeconds()) + " s";
    case wire::ServerChange::RESUME:
      return "node resume " + name;
    case wire::ServerChange::REMOVE:
      return "node remove " + name;
  }
  return "an unknown change of node " + name;
}

std::string AdminService::describeChange(RaftChangeParams::Reader params) {
  std::string name = params.getName().cStr();
  switch (params.getChange()) {
    case wire::RaftChange::PROMOTE:
      return "raft promote " + name;
    case wire::RaftChange::REMOVE:
      return "raft remove " + name;
    case wire::RaftChange::TRANSFER:
      return "raft transfer " + name;
    case wire::RaftChange::SNAPSHOT:
      return "raft snapshot";
  }
  return "an unknown change of the group: " + name;
}

}  // namespace

wire::Admin::Client newAdmin(Lifeline& lifeline, AuditCaller caller) {
  return kj::heap<AdminService>(lifeline, std::move(caller));
}

}  // namespace cairn
