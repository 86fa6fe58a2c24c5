#include "master/placement/acting_sets.h"

#include <algorithm>
#include <set>

#include "master/placement/primaries.h"
#include "master/placement/ring.h"

namespace cairn {
namespace {

// A member that isn't wanted any more is waited for: whether it has heard so.
constexpr Nanos LEAVER_LOOK = 50 * MILLISECOND;
// Weights count capacity in units of this.
constexpr uint64_t WEIGHT_BYTES = uint64_t{64} << 20;

bool contains(const std::vector<VolumeNumber>& volumes, VolumeNumber volume) {
  return std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
}

// How many copies are being made, of and by each volume.
class Traffic {
 public:
  // What has nobody to learn from takes no place: it may wait for ever.
  template <typename Serves>
  Traffic(const ShardMap& map, Serves&& serves) {
    for (auto& [id, shard] : map.shards) {
      if (std::any_of(shard.inSync.begin(), shard.inSync.end(), serves)) {
        count(shard, shard.joining);
      }
    }
  }
  bool admit(const ShardRecord& shard, const std::vector<VolumeNumber>& entering, size_t leaving) {
    // Who joins and isn't wanted any more makes place.
    bool room = all_ + entering.size() <= JOINS_MAX + leaving &&
                byVolume_[shard.primary] < JOINS_OF_VOLUME_MAX + leaving;
    for (VolumeNumber volume : entering) {
      room = room && byVolume_[volume] < JOINS_OF_VOLUME_MAX;
    }
    if (room) {
      count(shard, entering);
    }
    return room;
  }

 private:
  void count(const ShardRecord& shard, const std::vector<VolumeNumber>& joining) {
    all_ += joining.size();
    byVolume_[shard.primary] += joining.size();
    for (VolumeNumber volume : joining) {
      ++byVolume_[volume];
    }
  }

  std::map<VolumeNumber, uint32_t> byVolume_;
  size_t all_ = 0;
};

class Decider {
 public:
  Decider(const ShardMap& map, const Roster& roster, const std::vector<CaughtUp>& caughtUp, const PlacementRules& rules,
          Nanos now, Targets& targets)
      : map_(map),
        roster_(roster),
        caughtUp_(caughtUp),
        rules_(rules),
        now_(now),
        targets_(targets),
        standings_(targets.look(map, roster, rules, now)) {}

  Decision run();

 private:
  // A shard none of whose in-sync members ran through, and some of which have restarted.
  struct Restart {
    bool complete = true;  // all members are here again
    std::set<ServerId> arrived;
  };

  void admit();
  std::vector<Restart> findRestarts() const;
  void recordServers();
  void changeState(ServerRecord& record, const Roster::Member& member) const;
  void recordVolumes(const Roster::Member& member);
  void placeFirst();
  bool mayBegin(const Roster::Member& member) const;
  void placeClass(const ReplicationClass& cls, const std::vector<VolumeRecord>& volumes, bool first);

  void retarget();
  void decideShard(const ShardRecord& shard, uint32_t minCopies);
  void admitRestarted(const ShardRecord& shard, ShardRecord& next) const;
  void dropGone(ShardRecord& next, uint32_t minCopies);
  void join(ShardRecord& next) const;
  void promote(const ShardRecord& shard, ShardRecord& next) const;
  bool isComplete(const ShardRecord& shard) const;
  void releaseSurplus(const ShardRecord& shard, ShardRecord& next);

  Presence presence(VolumeNumber volume) const { return roster_.presence(map_, volume); }
  bool restarted(VolumeNumber volume) const;  // and is let back in now
  bool serves(VolumeNumber volume) const { return presence(volume) == Presence::PRESENT || restarted(volume); }
  void lookAgainAt(Nanos when);

  const ShardMap& map_;
  const Roster& roster_;
  const std::vector<CaughtUp>& caughtUp_;
  const PlacementRules& rules_;
  const Nanos now_;
  Targets& targets_;
  const Standings standings_;
  Targets::Plan retargeted_;
  std::set<ServerId> admitted_;  // new incarnations that enter the map now
  Decision decision_;
};

void Decider::lookAgainAt(Nanos when) {
  decision_.lookAgain = std::min(when, decision_.lookAgain.value_or(when));
}

bool Decider::restarted(VolumeNumber volume) const {
  const ServerRecord* server = map_.serverOf(volume);
  return server != nullptr && admitted_.contains(server->id) && presence(volume) == Presence::ARRIVED;
}

std::vector<Decider::Restart> Decider::findRestarts() const {
  std::vector<Restart> out;
  for (auto& [id, shard] : map_.shards) {
    Restart restart;
    bool survived = false;
    for (VolumeNumber volume : shard.inSync) {
      Presence is = presence(volume);
      survived |= is == Presence::PRESENT;
      restart.complete &= is == Presence::ARRIVED;
      if (is == Presence::ARRIVED) {
        restart.arrived.insert(map_.serverOf(volume)->id);
      }
    }
    if (!survived && !restart.arrived.empty()) {
      out.push_back(std::move(restart));
    }
  }
  return out;
}

// Which new incarnations enter the map now. The map knows one incarnation of a server for all its shards, so a server
// waits when any of its shards waits: no member ran through, and not all are back yet. What is decided together
// waits together.
void Decider::admit() {
  std::set<ServerId> arrived;
  std::optional<Nanos> first;
  for (auto& [id, member] : roster_.members()) {
    auto it = map_.servers.find(id);
    bool isNew = member.registered && member.alive &&
                 (it == map_.servers.end() || it->second.incarnation != member.record.incarnation);
    if (isNew) {
      arrived.insert(id);
    }
  }
  if (arrived.empty()) {
    return;
  }
  auto restarts = findRestarts();
  std::set<ServerId> waiting;
  for (bool grown = true; grown;) {
    grown = false;
    for (auto& restart : restarts) {
      bool waits = !restart.complete || std::any_of(restart.arrived.begin(), restart.arrived.end(),
                                                    [&](ServerId id) { return waiting.contains(id); });
      for (ServerId id : restart.arrived) {
        grown |= waits && waiting.insert(id).second;
      }
    }
  }
  for (ServerId id : waiting) {
    Nanos since = roster_.member(id)->since;
    first = std::min(since, first.value_or(since));
  }
  bool graceOver = first.has_value() && now_ >= *first + RESTART_GRACE;
  if (first.has_value() && !graceOver) {
    lookAgainAt(*first + RESTART_GRACE);
  }
  for (ServerId id : arrived) {
    if (graceOver || !waiting.contains(id)) {
      admitted_.insert(id);
    }
  }
}

void Decider::recordServers() {
  for (auto& [id, member] : roster_.members()) {
    auto it = map_.servers.find(id);
    bool known = it != map_.servers.end();
    bool current = known && (!member.registered || member.record.incarnation == it->second.incarnation);
    if (!current && !admitted_.contains(id)) {
      continue;
    }
    ServerRecord record = member.record;
    record.online = member.alive;
    if (known) {
      record.state = it->second.state;
      record.maintenanceSeconds = it->second.maintenanceSeconds;
      record.untilBack = it->second.untilBack;
      changeState(record, member);
    }
    if (!known || record != it->second) {
      decision_.change.servers.push_back(record);
    }
    if (member.registered) {
      recordVolumes(member);
    }
  }
  // A server that waits to be admitted is not online under the incarnation that the map knows.
  for (auto& [id, record] : map_.servers) {
    const Roster::Member* member = roster_.member(id);
    bool replaced = member != nullptr && member->registered && member->record.incarnation != record.incarnation;
    if (replaced && !admitted_.contains(id)) {
      ServerRecord waiting = record;
      waiting.online = false;
      changeState(waiting, *member);  // it may have gone again while it waited
      if (waiting != record) {
        decision_.change.servers.push_back(waiting);
      }
    }
  }
}

// What a server's state becomes by itself.
void Decider::changeState(ServerRecord& record, const Roster::Member& member) const {
  using State = wire::ServerState;
  bool here = roster_.isHere(record.id);
  bool stopped = member.left && !member.alive && member.maintenanceEnd <= member.since;  // and not waited for yet
  State next = record.state;
  if (record.state == State::IN_SERVICE && standings_.lost.contains(record.id)) {
    next = State::DEAD;
  } else if (record.state == State::IN_SERVICE && stopped) {
    next = State::MAINTENANCE;
    record.maintenanceSeconds = STOPPED_SECONDS;
    record.untilBack = true;
  } else if (record.state == State::DEAD && here) {
    next = State::IN_SERVICE;
  } else if (record.state == State::MAINTENANCE) {
    bool over = member.maintenanceSince != 0 && now_ >= member.maintenanceSince + record.maintenanceSeconds * SECOND;
    next = over || (here && record.untilBack) ? State::IN_SERVICE : State::MAINTENANCE;
  } else if (record.state == State::DRAINING && shardsUsing(map_, record.id) == 0) {
    next = State::DRAINED;
  }
  record.state = next;
  if (next != State::MAINTENANCE) {
    record.maintenanceSeconds = 0;
    record.untilBack = false;
  }
}

void Decider::recordVolumes(const Roster::Member& member) {
  uint32_t last = map_.volumes.empty() ? 0 : raw(map_.volumes.rbegin()->first);
  for (auto& record : decision_.change.volumes) {
    last = std::max(last, raw(record.number));
  }
  std::map<VolumeId, const VolumeRecord*> known;
  for (auto& [number, record] : map_.volumes) {
    known[record.id] = &record;
  }
  for (auto& [id, state] : member.volumes) {
    auto it = known.find(id);
    if (it == known.end()) {
      auto weight = static_cast<uint32_t>(std::clamp<uint64_t>(state.totalBytes / WEIGHT_BYTES, 1, 1u << 30));
      decision_.change.volumes.push_back({VolumeNumber{++last}, id, member.record.id, weight, state.usable});
    } else if (it->second->usable != state.usable) {
      VolumeRecord record = *it->second;
      record.usable = state.usable;
      decision_.change.volumes.push_back(record);
    }
  }
}

// Nothing has been written yet: any set will do, but it should be one that spreads well.
void Decider::placeFirst() {
  std::set<ServerId> servers;
  std::vector<VolumeRecord> volumes;
  auto consider = [&](const VolumeRecord& volume) {
    const Roster::Member* member = roster_.member(volume.server);
    bool here = member != nullptr && member->registered && member->alive && volume.usable &&
                member->volumes.contains(volume.id) && mayBegin(*member);
    if (here) {
      servers.insert(volume.server);
      volumes.push_back(volume);
    }
  };
  std::map<VolumeNumber, VolumeRecord> records = map_.volumes;
  for (auto& volume : decision_.change.volumes) {
    records[volume.number] = volume;
  }
  for (auto& [number, volume] : records) {
    consider(volume);
  }
  bool first = map_.shards.empty();
  if (servers.empty() || (first && servers.size() < rules_.firstServers)) {
    return;
  }
  for (auto& [id, cls] : map_.classes) {
    if (map_.shard(makeShardId(id, 0)) == nullptr) {
      placeClass(cls, volumes, first);
    }
  }
}

// A class that is made later must not count on what is to go, nor on what waits to be let in again.
bool Decider::mayBegin(const Roster::Member& member) const {
  using State = wire::ServerState;
  auto it = map_.servers.find(member.record.id);
  if (it == map_.servers.end() || admitted_.contains(member.record.id)) {
    return true;
  }
  return it->second.incarnation == member.record.incarnation && it->second.state != State::DRAINING &&
         it->second.state != State::DRAINED;
}

// One that is made later waits for as many domains as it has copies.
void Decider::placeClass(const ReplicationClass& cls, const std::vector<VolumeRecord>& volumes, bool first) {
  std::vector<RingVolume> places;
  std::set<Domain> domains;
  for (auto& volume : volumes) {
    Domain domain = domainOf(roster_.member(volume.server)->record, cls.level);
    places.push_back({volume.number, volume.id, domain, volume.weight});
    domains.insert(domain);
  }
  if (!first && domains.size() < cls.copies) {
    return;
  }
  uint32_t shardCount = 1u << cls.shardBits;
  Placement placement = placeShards(places, cls.id, shardCount, cls.copies, {});
  for (uint32_t position = 0; position < shardCount; ++position) {
    ShardRecord shard;
    shard.id = makeShardId(cls.id, position);
    shard.epoch = Epoch{1};
    shard.target = shard.inSync = placement[position];
    shard.primary = shard.inSync.front();
    decision_.change.shards.push_back(std::move(shard));
  }
}

// Members that come back from a restart: to be caught up by one that ran through, or, when none did, in sync as they
// are. They have all that was ever synced; the rest the boot verifiers tell the clients.
void Decider::admitRestarted(const ShardRecord& shard, ShardRecord& next) const {
  auto isRestarted = [this](VolumeNumber volume) { return restarted(volume); };
  auto ranThrough = [this](VolumeNumber volume) { return presence(volume) == Presence::PRESENT; };
  if (std::none_of(shard.inSync.begin(), shard.inSync.end(), isRestarted)) {
    return;
  }
  if (std::any_of(shard.inSync.begin(), shard.inSync.end(), ranThrough)) {
    std::erase_if(next.inSync, isRestarted);
  } else {
    std::erase_if(next.inSync, [&](VolumeNumber volume) { return !isRestarted(volume); });
  }
}

void Decider::dropGone(ShardRecord& next, uint32_t minCopies) {
  std::vector<VolumeNumber> gone;
  std::optional<Nanos> serving;  // since when
  for (VolumeNumber volume : next.inSync) {
    if (serves(volume)) {
      Nanos since = roster_.since(map_, volume);
      serving = std::min(since, serving.value_or(since));
    } else if (presence(volume) != Presence::PRESUMED) {
      gone.push_back(volume);  // or back, but still waiting to be let in: another shard's members are missing
    }
  }
  if (!serving.has_value()) {
    return;  // the last in-sync members are never dropped
  }
  for (VolumeNumber volume : gone) {
    Nanos since = roster_.since(map_, volume);
    uint32_t survivors = 0;
    for (VolumeNumber other : next.inSync) {
      survivors += serves(other) && roster_.since(map_, other) <= since;
    }
    Nanos due = survivors >= minCopies ? since : std::max(since, *serving) + SETTLE;
    if (now_ >= due) {
      std::erase(next.inSync, volume);
      if (const ServerRecord* server = map_.serverOf(volume)) {
        decision_.dropped.insert(server->id);
      }
    } else {
      lookAgainAt(due);
    }
  }
}

void Decider::join(ShardRecord& next) const {
  std::vector<VolumeNumber> wanted;
  for (VolumeNumber volume : next.joining) {
    if (contains(next.target, volume)) {
      wanted.push_back(volume);
    }
  }
  for (VolumeNumber volume : next.target) {
    if (!next.isJoining(volume)) {
      wanted.push_back(volume);
    }
  }
  bool source = std::any_of(next.inSync.begin(), next.inSync.end(), [this](auto volume) { return serves(volume); });
  std::vector<VolumeNumber> joining;
  for (VolumeNumber volume : wanted) {
    bool stays = next.isJoining(volume) && presence(volume) != Presence::GONE;
    if (!next.isInSync(volume) && (stays || (source && serves(volume)))) {
      joining.push_back(volume);
    }
  }
  next.joining = std::move(joining);
}

// Such a member has all that was ever acknowledged, and its primary waits for it as for the others: so it counts even
// when another member goes in the same turn, or was the last one.
void Decider::promote(const ShardRecord& shard, ShardRecord& next) const {
  for (auto& report : caughtUp_) {
    bool valid = report.shard == shard.id && report.epoch == shard.epoch && next.isJoining(report.volume) &&
                 presence(report.volume) == Presence::PRESENT;
    if (valid) {
      std::erase(next.joining, report.volume);
      next.inSync.push_back(report.volume);
    }
  }
}

// All who are wanted are here and in sync.
bool Decider::isComplete(const ShardRecord& shard) const {
  return !shard.target.empty() && std::all_of(shard.target.begin(), shard.target.end(), [&](VolumeNumber volume) {
    return shard.isInSync(volume) && serves(volume);
  });
}

// Who isn't wanted leaves when all who are wanted are here and in sync: so never fewer than wanted on the way, and
// never the last one. It is alive and has its lease: it leaves only when it has seen the record by which it serves
// nothing more (and doesn't lead), or it would answer reads with what the others have overwritten.
void Decider::releaseSurplus(const ShardRecord& shard, ShardRecord& next) {
  bool announced = shard.target == next.target && isComplete(shard) && isComplete(next);
  if (!announced || !contains(shard.target, shard.primary)) {
    return;
  }
  for (VolumeNumber volume : shard.inSync) {
    if (contains(shard.target, volume) || presence(volume) != Presence::PRESENT) {
      continue;
    }
    if (roster_.member(map_.serverOf(volume)->id)->applied >= shard.changed) {
      std::erase(next.inSync, volume);
    } else {
      lookAgainAt(now_ + LEAVER_LOOK);
    }
  }
}

// Which shards get another target now. Those with the fewest copies first; then as many as the volumes can stand.
void Decider::retarget() {
  auto plan = targets_.plan(map_, standings_);
  if (plan.empty()) {
    return;
  }
  Traffic traffic(map_, [this](VolumeNumber volume) { return serves(volume); });
  std::vector<std::pair<size_t, ShardId>> order;
  for (auto& [id, target] : plan) {
    auto& inSync = map_.shards.at(id).inSync;
    size_t live = std::count_if(inSync.begin(), inSync.end(), [this](VolumeNumber v) { return serves(v); });
    if (live > 0) {
      order.push_back({live, id});
    }
  }
  std::sort(order.begin(), order.end());
  for (auto& [live, id] : order) {
    auto& shard = map_.shards.at(id);
    std::vector<VolumeNumber> entering = plan.at(id);
    std::erase_if(entering, [&](VolumeNumber volume) { return contains(shard.target, volume); });
    bool here = std::all_of(entering.begin(), entering.end(), [this](VolumeNumber v) { return serves(v); });
    size_t leaving = std::count_if(shard.joining.begin(), shard.joining.end(),
                                   [&](VolumeNumber volume) { return !contains(plan.at(shard.id), volume); });
    if (here && traffic.admit(shard, entering, leaving)) {
      retargeted_[id] = plan.at(id);
    }
  }
}

void Decider::decideShard(const ShardRecord& shard, uint32_t minCopies) {
  ShardRecord next = shard;
  if (auto it = retargeted_.find(shard.id); it != retargeted_.end()) {
    next.target = it->second;
  }
  admitRestarted(shard, next);
  dropGone(next, minCopies);
  join(next);
  promote(shard, next);
  releaseSurplus(shard, next);
  auto isRestarted = [this](VolumeNumber volume) { return restarted(volume); };
  bool newIncarnation = std::any_of(shard.inSync.begin(), shard.inSync.end(), isRestarted) ||
                        std::any_of(shard.joining.begin(), shard.joining.end(), isRestarted);
  bool moved = next.inSync != shard.inSync || next.joining != shard.joining || next.target != shard.target;
  moved = moved || (isComplete(next) && !contains(next.target, next.primary));
  if (newIncarnation || moved) {
    next.epoch = cairn::next(shard.epoch);
    decision_.change.shards.push_back(std::move(next));
  }
}

Decision Decider::run() {
  admit();
  recordServers();
  placeFirst();
  retarget();
  if (standings_.lookAgain.has_value()) {
    lookAgainAt(*standings_.lookAgain);
  }
  std::map<ClassId, uint32_t> minCopies;
  for (auto& [id, cls] : map_.classes) {
    minCopies[id] = cls.minCopies;
  }
  for (auto& [id, shard] : map_.shards) {
    decideShard(shard, minCopies[shardClass(id)]);
  }
  std::map<VolumeNumber, uint32_t> weights;
  for (auto& [number, volume] : map_.volumes) {
    weights[number] = volume.weight;
  }
  for (auto& volume : decision_.change.volumes) {
    weights[volume.number] = volume.weight;
  }
  std::set<VolumeNumber> able;
  for (auto& shard : decision_.change.shards) {
    for (VolumeNumber volume : shard.inSync) {
      if (map_.shard(shard.id) == nullptr || serves(volume)) {
        able.insert(volume);
      }
    }
  }
  spreadPrimaries(map_, weights, able, decision_.change.shards);
  return std::move(decision_);
}

}  // namespace

Decision decide(const ShardMap& map, const Roster& roster, const std::vector<CaughtUp>& caughtUp,
                const PlacementRules& rules, Nanos now, Targets& targets) {
  return Decider(map, roster, caughtUp, rules, now, targets).run();
}

}  // namespace cairn
