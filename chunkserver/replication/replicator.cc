#include "chunkserver/replication/replicator.h"

#include <algorithm>

#include "common/log.h"

namespace cairn {
namespace {

// Slower than this copies aren't made even while users feel it: a second loss must not find the first one open.
constexpr uint64_t JOIN_FLOOR = 16ull << 20;

// All who are wanted are in sync, and the volume isn't wanted: the master takes it out as soon as this server has said
// that it knows. From then on others may be written to without it.
bool isLeaving(const ShardRecord& record, VolumeNumber volume) {
  bool complete = std::all_of(record.target.begin(), record.target.end(),
                              [&record](VolumeNumber wanted) { return record.isInSync(wanted); });
  return complete && std::find(record.target.begin(), record.target.end(), volume) == record.target.end();
}

}  // namespace

Replicator::Replicator(Clock& clock, Random& random, Membership& membership, Peers& peers,
                       std::vector<LocalVolume*> volumes, uint64_t joinRate)
    : membership_(membership),
      load_(clock),
      joins_(clock, load_, ThrottleRules{joinRate, JOIN_FLOOR}),
      gives_(clock, load_, ThrottleRules{0, JOIN_FLOOR}),
      around_{clock,      random,     membership, peers,  fences_, heavy_,
              transfers_, fetches_, fellQuiet_, load_,      joins_, gives_},
      volumes_(std::move(volumes)),
      gather_(around_, tasks_),
      tasks_(*this) {
  tasks_.add(ticks().promise());
  tasks_.add(announceQuiet().promise());
}

Replicator::~Replicator() noexcept(false) = default;

void Replicator::setJoinRate(uint64_t joinRate) {
  joins_.setRules(ThrottleRules{joinRate, JOIN_FLOOR});
}

void Replicator::taskFailed(kj::Exception&& e) {
  spdlog::error("a replication task ended: {}", kj::str(e).cStr());
}

// ---- the map ------------------------------------------------------------------------------------

// The map speaks of this process, not of one before it in the same place. Only then do its roles mean anything.
bool Replicator::isAdmitted() const {
  auto it = membership_.map.servers.find(membership_.self().server);
  return it != membership_.map.servers.end() && it->second.incarnation == membership_.self().incarnation;
}

bool Replicator::learnVolumes() {
  bool learnt = false;
  for (LocalVolume* volume : volumes_) {
    for (auto& [number, record] : membership_.map.volumes) {
      if (record.id == volume->id && volume->number != number) {
        KJ_ASSERT(!volume->number, "the master has renumbered a volume", raw(number));
        volume->number = number;
        learnt = true;
      }
    }
  }
  return learnt;
}

void Replicator::mapChanged() {
  const ShardMap& map = membership_.map;
  fences_.update(map.version, map.fenced, map.sealed);
  bool all = learnVolumes();
  all = all || isAdmitted() != admitted_;
  admitted_ = isAdmitted();
  for (auto& [id, record] : map.shards) {
    if (!all && record.changed != map.version) {
      continue;
    }
    for (LocalVolume* volume : volumes_) {
      if (volume->number) {
        update(*volume, record);
      }
    }
  }
  membership_.changed.raise();
}

void Replicator::update(LocalVolume& volume, const ShardRecord& record) {
  VolumeNumber number = *volume.number;
  Role role = Role::NONE;
  if (!admitted_) {
    role = Role::NONE;
  } else if (record.isInSync(number)) {
    role = record.primary == number ? Role::PRIMARY : Role::IN_SYNC;
  } else if (record.isJoining(number)) {
    role = Role::JOINING;
  }
  ReplicaUnit* unit = find(number, record.id);
  if (unit == nullptr) {
    if (role == Role::NONE) {
      return;
    }
    auto made = kj::heap<ReplicaUnit>(around_, volume, record.id, tasks_, gather_, rounds_, caughtUp);
    unit = units_.emplace(Key(number, record.id), kj::mv(made)).first->second.get();
  }
  enter(*unit, record, role);
}

void Replicator::enter(ReplicaUnit& unit, const ShardRecord& record, Role role) {
  ShardReplica& state = unit.state;
  bool sameEpoch = record.epoch == state.record.epoch && role == state.role && record.primary == state.record.primary;
  bool sameJoining = record.joining == state.record.joining;
  state.record = record;
  if (sameEpoch && role != Role::JOINING) {
    if (role == Role::PRIMARY && !sameJoining) {
      unit.primary.joiningChanged();
    }
    return;
  }
  bool stays = state.role != Role::NONE && (role == Role::PRIMARY || role == Role::IN_SYNC);
  if (!stays) {
    state.since = record.epoch;
  }
  state.othersSince.clear();
  std::erase_if(state.givenUp, [this](auto& entry) {
    return around_.clock.monotonic() - entry.second > 2 * Primary::WAIT_LIMIT;
  });
  state.role = role;
  ++state.turn;
  state.ready = false;
  state.caughtUp = false;
  state.roomWanted = 0;
  state.pending.endEpoch();
  if (role == Role::NONE) {
    state.pending = PendingSet();  // should it come back, it compares everything
  }
  if (role == Role::PRIMARY || role == Role::IN_SYNC) {
    serving_[state.shard] = &unit;
  } else if (auto it = serving_.find(state.shard); it != serving_.end() && it->second == &unit) {
    serving_.erase(it);
  }
  unit.backup.epochChanged();
  unit.primary.epochChanged();
  state.changed.raise();
  if (state.volume.failed) {
    return;
  }
  if (role == Role::PRIMARY) {
    tasks_.add(reconcile(unit).promise());
  } else if (role == Role::JOINING) {
    tasks_.add(unit.joiner.run().promise());
  }
}

void Replicator::volumeFailed(LocalVolume& volume) {
  volume.failed = true;
  for (auto& [key, unit] : units_) {
    if (&unit->state.volume == &volume) {
      unit->state.changed.raise();
    }
  }
}

void Replicator::volumeReopened(LocalVolume& volume) {
  for (auto& [key, unit] : units_) {
    if (&unit->state.volume == &volume) {
      unit->state.restarted = true;
      unit->state.caughtUp = false;
      unit->state.pending = PendingSet();
    }
  }
}

ReplicaUnit* Replicator::find(VolumeNumber volume, ShardId shard) {
  auto it = units_.find(Key(volume, shard));
  return it == units_.end() ? nullptr : it->second.get();
}

ReplicaUnit* Replicator::primaryOf(ShardId shard) {
  const ShardRecord* record = membership_.map.shard(shard);
  ReplicaUnit* unit = record == nullptr ? nullptr : find(record->primary, shard);
  return unit != nullptr && unit->state.role == Role::PRIMARY ? unit : nullptr;
}

// ---- admission ----------------------------------------------------------------------------------

Admission Replicator::admit(wire::Target::Reader target, Access access) {
  const ShardMap& map = membership_.map;
  if (raw(map.version) < target.getMapVersion()) {
    return later(wire::Verdict::NOT_READY, "the shard map isn't here yet", membership_.changed);
  }
  if (!membership_.lease.valid()) {
    return {wire::Verdict::NOT_READY, "this server has no lease from the master", nullptr, nullptr};
  }
  if (fences_.isFenced(SessionId{target.getSession()})) {
    return {wire::Verdict::FENCED, "the session was evicted", nullptr, nullptr};
  }
  if (access != Access::SYNC && fences_.isSealed(ObjectId{target.getObject()})) {
    return {wire::Verdict::STALE_LAYOUT, "the file is on its way into another replication class", nullptr, nullptr};
  }
  ShardId shard{target.getShard()};
  const ShardRecord* record = map.shard(shard);
  auto cls = map.classes.find(shardClass(shard));
  if (record == nullptr || cls == map.classes.end()) {
    return later(wire::Verdict::NOT_READY, "the shard isn't placed yet", membership_.changed);
  }
  if (shardOf(cls->first, cls->second.shardBits, chunkOf(target)) != shard) {
    return {wire::Verdict::BAD_REQUEST, "the chunk belongs to another shard", nullptr, nullptr};
  }
  if (target.getEpoch() < raw(record->epoch)) {
    return {wire::Verdict::STALE_EPOCH, "the shard has a newer epoch", nullptr, nullptr};
  }
  ReplicaUnit* unit = primaryOf(shard);
  if (unit == nullptr && access == Access::READ) {
    auto it = serving_.find(shard);
    unit = it == serving_.end() || isLeaving(*record, it->second->state.number()) ? nullptr : it->second;
  }
  if (unit == nullptr) {
    return {wire::Verdict::NOT_PRIMARY, "this server doesn't serve the shard", nullptr, nullptr};
  }
  if (unit->state.volume.failed) {
    return {wire::Verdict::FAILED, "the volume has failed", nullptr, nullptr};
  }
  if (!unit->state.ready || target.getEpoch() > raw(record->epoch)) {
    return later(wire::Verdict::NOT_READY, "the shard's members are being made equal", unit->state.changed);
  }
  if (access == Access::WRITE && record->inSync.size() < cls->second.minCopies) {
    return later(wire::Verdict::NOT_READY, "too few copies are in sync", unit->state.changed);
  }
  return {wire::Verdict::OK, "", unit, nullptr};
}

// ---- background ---------------------------------------------------------------------------------

Task<void> Replicator::reconcile(ReplicaUnit& unit) {
  bool ready = co_await unit.reconciler.run();
  if (ready) {
    noteInSync(unit);
    announce();
  }
}

Task<void> Replicator::ticks() {
  for (;;) {
    co_await around_.clock.after(TICK);
    for (auto& [key, unit] : units_) {
      if (unit->state.role == Role::PRIMARY) {
        unit->primary.tick();
      }
    }
    announce();
  }
}

Task<void> Replicator::announceQuiet() {
  for (;;) {
    co_await fellQuiet_.next();
    co_await around_.clock.after(QUIET_DELAY);
    announce();
  }
}

void Replicator::announce() {
  if (!announcing_) {
    announcing_ = true;
    tasks_.add(announceSoon().promise());
  }
}

Task<void> Replicator::announceSoon() {
  co_await nextTurn();
  announcing_ = false;
  std::map<VolumeNumber, std::pair<MemberName, std::vector<Settled>>> byMember;
  for (auto& [key, unit] : units_) {
    for (auto& untold : unit->primary.untold()) {
      if (settling_.count(untold.member.volume) == 0) {
        auto& entry = byMember[untold.member.volume];
        entry.first = untold.member;
        entry.second.push_back({unit.get(), untold.slot, unit->state.turn, untold.completeBelow});
      }
    }
  }
  for (auto& [volume, entry] : byMember) {
    settling_.insert(volume);
    tasks_.add(sendSettled(entry.first, kj::mv(entry.second)).promise());
  }
}

Task<void> Replicator::sendSettled(MemberName member, std::vector<Settled> settled) {
  bool told = false;
  try {
    auto connected = around_.peers.connected(member.server);
    auto peer = co_await withDeadline(around_.clock, SETTLED_LIMIT, kj::mv(connected), "reaching a member");
    auto request = peer.settledRequest(capnp::MessageSize{settled.size() * 4 + 32, 0});
    request.setVolume(raw(member.volume));
    auto list = request.initShards(settled.size());
    for (uint32_t i = 0; i < settled.size(); ++i) {
      list[i].setShard(raw(settled[i].unit->state.shard));
      // One that has another epoch by now says something of nothing: epoch 0.
      bool current = settled[i].unit->state.turn == settled[i].turn;
      list[i].setEpoch(current ? raw(settled[i].unit->state.epoch()) : 0);
      list[i].setCompleteBelow(settled[i].completeBelow);
    }
    kj::Promise<capnp::Response<wire::PeerService::SettledResults>> sent = request.send();
    auto response = co_await withDeadline(around_.clock, SETTLED_LIMIT, kj::mv(sent), "telling a member");
    told = response.getAnswer().getVerdict() == wire::Verdict::OK;
  } catch (const kj::Exception& e) {
    spdlog::debug("volume {}: telling what is settled: {}", raw(member.volume), e.getDescription().cStr());
  }
  settling_.erase(member.volume);
  for (auto& item : settled) {
    if (told) {
      item.unit->primary.told(item.slot, item.turn, item.completeBelow);
    }
  }
}

void Replicator::noteInSync(ReplicaUnit& unit) {
  if (unit.state.store().inSync(unit.state.shard) == unit.state.epoch()) {
    return;
  }
  auto& marks = marks_[&unit.state.volume];
  marks.push_back({unit.state.shard, unit.state.epoch()});
  if (marks.size() == 1) {
    tasks_.add(writeMarks(unit.state.volume).promise());
  }
}

Task<void> Replicator::writeMarks(LocalVolume& volume) {
  co_await nextTurn();
  auto marks = kj::mv(marks_[&volume]);
  marks_.erase(&volume);
  auto written = co_await volume.store->setInSync(kj::mv(marks));
  if (!written.ok()) {
    spdlog::error("volume {}: in-sync marks can't be written: {}", toText(volume.id), written.error().why);
  }
}

void Replicator::startRepair(ReplicaUnit& unit, ChunkId chunk) {
  if (repairing_.insert({unit.state.shard, chunk}).second) {
    tasks_.add(repair(unit, chunk).promise());
  }
}

void Replicator::startCheck(ReplicaUnit& unit, ChunkId chunk) {
  std::pair<ShardId, ChunkId> key{unit.state.shard, chunk};
  if (repairing_.count(key) == 0 && checking_.insert(key).second) {
    tasks_.add(check(unit, chunk).promise());
  }
}

Task<void> Replicator::check(ReplicaUnit& unit, ChunkId chunk) {
  KJ_DEFER(checking_.erase({unit.state.shard, chunk}));
  kj::ArrayPtr<const uint32_t> all;
  auto permit = co_await heavy_.take();
  auto bad = co_await unit.state.store().verifyBlocks(unit.state.key(chunk), all);
  if (bad.ok() && !bad.value().empty()) {
    startRepair(unit, chunk);
  }
}

Task<void> Replicator::mend(ReplicaUnit& unit, ChunkId chunk) {
  if (repairing_.insert({unit.state.shard, chunk}).second) {
    try {
      co_await repair(unit, chunk);
    } catch (const kj::Exception& e) {
      spdlog::debug("shard {:x}: mending a chunk: {}", raw(unit.state.shard), e.getDescription().cStr());
    }
  }
}

// Whoever waits may go: a repair that has begun goes on to its end.
Task<bool> Replicator::mendWithin(ReplicaUnit& unit, ChunkId chunk, Nanos limit) {
  auto pair = kj::newPromiseAndFulfiller<bool>();
  tasks_.add(repairFor(unit, chunk, kj::mv(pair.fulfiller)).promise());
  auto late = around_.clock.after(limit).then([] { return false; });
  auto ended = pair.promise.exclusiveJoin(kj::mv(late));
  co_return co_await kj::mv(ended);
}

Task<void> Replicator::repairFor(ReplicaUnit& unit, ChunkId chunk, kj::Own<kj::PromiseFulfiller<bool>> told) {
  auto permit = co_await repairs_.take();
  bool equal = co_await unit.primary.repair(chunk);
  told->fulfill(kj::mv(equal));
}

Task<void> Replicator::repair(ReplicaUnit& unit, ChunkId chunk) {
  auto done = kj::defer([this, shard = unit.state.shard, chunk]() { repairing_.erase({shard, chunk}); });
  auto permit = co_await repairs_.take();
  ShardReplica& state = unit.state;
  if (state.role == Role::PRIMARY && state.ready) {
    co_await unit.primary.repair(chunk);
    co_return;
  }
  const VolumeRecord* primary = membership_.map.volume(state.record.primary);
  if (state.role != Role::IN_SYNC || primary == nullptr) {
    co_return;
  }
  auto connected = around_.peers.connected(primary->server);
  auto peer = co_await withDeadline(around_.clock, SETTLED_LIMIT, kj::mv(connected), "reaching the primary");
  auto request = peer.repairRequest();
  request.setVolume(raw(state.record.primary));
  request.setShard(raw(state.shard));
  request.setEpoch(raw(state.epoch()));
  writeName(chunk, request.initChunk());
  kj::Promise<capnp::Response<wire::PeerService::RepairResults>> sent = request.send();
  auto limit = Equalizer::IMAGE_LIMIT;
  co_await withDeadline(around_.clock, limit, kj::mv(sent), "asking for a repair");
}

JoinProgress Replicator::joinProgress(const LocalVolume& volume) const {
  JoinProgress all;
  for (auto& [key, unit] : units_) {
    if (&unit->state.volume == &volume) {
      JoinProgress one = unit->joiner.progress();
      all.bytesLeft += unit->state.role == Role::JOINING ? one.bytesLeft : 0;
      all.bytesMoved += one.bytesMoved;
    }
  }
  return all;
}

bool Replicator::lacksRoom(const LocalVolume& volume) const {
  for (auto& [key, unit] : units_) {
    if (&unit->state.volume == &volume && unit->state.lacksRoom()) {
      return true;
    }
  }
  return false;
}

bool Replicator::quiet(const LocalVolume& volume) const {
  for (auto& [key, unit] : units_) {
    bool here = &unit->state.volume == &volume;
    if (here && (!unit->state.pending.empty() || !unit->state.applies.idle() || !unit->primary.idle())) {
      return false;
    }
  }
  return true;
}

}  // namespace cairn
