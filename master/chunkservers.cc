#include "master/chunkservers.h"

#include <set>

#include "common/domain_name.h"
#include "common/log.h"
#include "master/propose.h"
#include "master/propose_map.h"

namespace cairn {

Chunkservers::Chunkservers(Clock& clock, Replica& replica, PlacementRules rules)
    : clock_(clock),
      replica_(replica),
      rules_(rules),
      roster_(replica.reader().map(), clock.monotonic()),
      tasks_(*this) {}

Chunkservers::~Chunkservers() noexcept(false) = default;

PlacementRules Chunkservers::rules() const {
  PlacementRules now = rules_;
  auto settings = replica_.reader().settings();
  auto delay = settings.find("repair_delay");
  if (delay != settings.end()) {
    now.repairDelay = static_cast<Nanos>(delay->second) * SECOND;
  }
  return now;
}

void Chunkservers::taskFailed(kj::Exception&& e) {
  spdlog::error("placement: {}", kj::str(e).cStr());
  lookAgain_ = clock_.monotonic() + RETRY;
}

Status Chunkservers::checkHello(wire::ServerHello::Reader hello) const {
  auto id = fromWire<ServerTag>(hello.getId());
  if (id.isNull() || fromWire<IncarnationTag>(hello.getIncarnation()).isNull() || hello.getName().size() == 0) {
    return Error{EINVAL, "a chunkserver must tell its id, its incarnation and its name"};
  }
  auto program = readProgram(hello.getProgram());
  uint32_t level = replica_.reader().featureLevel();
  if (program.level < level) {
    return Error{ESTALE, tooOld(std::string("chunkserver ") + hello.getName().cStr(), program, level)};
  }
  for (auto name : {hello.getRack(), hello.getZone()}) {
    if (name.size() > 0 && !isDomainName(name.cStr())) {
      return Error{EINVAL, "\"" + std::string(name.cStr()) + "\" can't be the name of a rack or a zone: " +
                               DOMAIN_NAME_RULE};
    }
  }
  if (hello.getVolumes().size() == 0 || hello.getVolumes().size() > VOLUMES_MAX) {
    return Error{EINVAL, "a chunkserver must have 1 to " + std::to_string(VOLUMES_MAX) + " volumes"};
  }
  if (roster_.member(id) == nullptr && roster_.members().size() >= SERVERS_MAX) {
    return Error{ENOSPC, "this cluster has " + std::to_string(SERVERS_MAX) + " chunkservers already, the most it can"};
  }
  std::map<VolumeId, ServerId> owners;
  for (auto& [number, volume] : map().volumes) {
    owners[volume.id] = volume.server;
  }
  std::set<VolumeId> told;
  for (auto item : hello.getVolumes()) {
    auto volume = fromWire<VolumeTag>(item.getId());
    auto owner = owners.find(volume);
    if (volume.isNull() || !told.insert(volume).second) {
      return Error{EINVAL, "a volume without an id, or told twice: " + toText(volume)};
    }
    if (owner != owners.end() && owner->second != id) {
      auto server = map().servers.find(owner->second);
      std::string name = server == map().servers.end() ? toText(owner->second) : server->second.name;
      return Error{ESTALE, "volume " + toText(volume) + " belongs to chunkserver \"" + name +
                               "\": start it there, or give this one an empty directory"};
    }
  }
  return {};
}

Status Chunkservers::arrive(wire::ServerHello::Reader hello) {
  auto sound = checkHello(hello);
  if (!sound.ok()) {
    return sound;
  }
  ServerRecord record;
  record.id = fromWire<ServerTag>(hello.getId());
  record.name = hello.getName().cStr();
  record.incarnation = fromWire<IncarnationTag>(hello.getIncarnation());
  record.address = hello.getAddress().cStr();
  record.socket = hello.getSocket().cStr();
  record.hostId = hello.getHostId().cStr();
  record.rack = hello.getRack().cStr();
  record.zone = hello.getZone().cStr();
  std::vector<VolumeState> volumes;
  for (auto item : hello.getVolumes()) {
    VolumeState volume;
    volume.id = fromWire<VolumeTag>(item.getId());
    volume.totalBytes = item.getTotalBytes();
    volume.usedBytes = item.getUsedBytes();
    volume.usable = item.getUsable();
    volume.why = item.getWhy().cStr();
    volumes.push_back(std::move(volume));
  }
  auto arrived = roster_.arrive(std::move(record), std::move(volumes), clock_.monotonic());
  disobedience_.erase(fromWire<ServerTag>(hello.getId()));
  if (arrived.ok()) {
    programs_[fromWire<ServerTag>(hello.getId())] = readProgram(hello.getProgram());
  }
  lookSoon();
  return arrived;
}

std::optional<Program> Chunkservers::program(ServerId server) const {
  auto found = programs_.find(server);
  return found == programs_.end() ? std::nullopt : std::optional<Program>(found->second);
}

// Of one server, or of all.
std::set<uint64_t> Chunkservers::heldPlans(const ServerId* server) const {
  std::set<uint64_t> plans;
  for (auto& [id, member] : roster_.members()) {
    for (auto& [volume, state] : member.volumes) {
      bool counts = member.registered && (server == nullptr || id == *server);
      if (counts && state.held.plan != 0) {
        plans.insert(state.held.plan);
      }
    }
  }
  return plans;
}

Status Chunkservers::agree(uint64_t plan) {
  auto plans = heldPlans(nullptr);
  std::erase_if(agreed_, [&](uint64_t old) { return !plans.contains(old); });
  if (!plans.contains(plan)) {
    return Error{ENOENT, "no volume waits for that: it is another plan by now, or done. See dfsadmin removal list"};
  }
  agreed_.insert(plan);
  return {};
}

std::vector<uint64_t> Chunkservers::agreed(ServerId server) const {
  std::vector<uint64_t> out;
  if (agreed_.empty()) {
    return out;
  }
  for (uint64_t plan : heldPlans(&server)) {
    if (agreed_.contains(plan)) {
      out.push_back(plan);
    }
  }
  return out;
}

void Chunkservers::disobeyed(wire::ServerHello::Reader hello, const std::string& why) {
  auto id = fromWire<ServerTag>(hello.getId());
  bool isKnown = disobedience_.contains(id) || roster_.member(id) != nullptr || disobedience_.size() < VOLUMES_MAX;
  if (!isKnown) {
    return;
  }
  auto& entry = disobedience_[id];
  if (entry.why != why) {
    spdlog::error("{}", why);
  }
  entry = {why, clock_.monotonic()};
}

std::vector<std::string> Chunkservers::disobedience() const {
  std::vector<std::string> out;
  for (auto& [id, entry] : disobedience_) {
    if (clock_.monotonic() - entry.at < DISOBEYED_SHOWN) {
      out.push_back(entry.why);
    }
  }
  return out;
}

Result<Nanos> Chunkservers::beat(ServerId server, const Incarnation& incarnation, wire::Heartbeat::Reader beat) {
  Nanos now = clock_.monotonic();
  Nanos lease = 0;
  if (!roster_.beat(server, incarnation, MapVersion{beat.getMapVersion()}, now, lease)) {
    return Error{ESTALE, "not registered under this incarnation: register again"};
  }
  for (auto item : beat.getVolumes()) {
    VolumeState volume;
    volume.id = fromWire<VolumeTag>(item.getId());
    volume.totalBytes = item.getTotalBytes();
    volume.usedBytes = item.getUsedBytes();
    volume.retiredBytes = item.getRetiredBytes();
    volume.held = readHeld(item.getHeld());
    volume.badBlocks = item.getBadBlocks();
    volume.adoptedBlocks = item.getAdoptedBlocks();
    volume.ownBytes = item.getOwnBytes();
    volume.unmendedBlocks = item.getUnmendedBlocks();
    volume.differingChunks = item.getDifferingChunks();
    volume.slow = item.getSlow();
    volume.noRoom = item.getNoRoom();
    volume.why = item.getFailed().cStr();
    volume.usable = volume.why.empty();
    roster_.reportVolume(server, std::move(volume), now);
  }
  repair_.report(server, incarnation, beat.getTakenOverBytes(), now);
  roster_.reportMap(server, MapVersion{beat.getMapVersion()}, MapVersion{beat.getFencesDrained()});
  takeClaims(server, beat);
  for (auto suspect : beat.getSuspects()) {
    roster_.suspect(server, fromWire<ServerTag>(suspect), now);
  }
  if (roster_.revision() != revisionSeen_) {
    lookSoon();
  }
  return lease;
}

// A claim counts when the server has seen the record of the shard that it speaks of: an older one may have missed
// forwards.
void Chunkservers::takeClaims(ServerId server, wire::Heartbeat::Reader beat) {
  MapVersion applied{beat.getMapVersion()};
  for (auto item : beat.getCaughtUp()) {
    VolumeNumber number{item.getVolume()};
    const VolumeRecord* volume = map().volume(number);
    const ShardRecord* shard = map().shard(ShardId{item.getShard()});
    bool valid = volume != nullptr && volume->server == server && shard != nullptr && shard->changed <= applied &&
                 shard->epoch == Epoch{item.getEpoch()} && shard->isJoining(number);
    if (valid) {
      claims_[{shard->id, number}] = shard->epoch;
      lookSoon();
    }
  }
}

void Chunkservers::forgetOldClaims() {
  std::erase_if(claims_, [this](auto& claim) {
    const ShardRecord* shard = map().shard(claim.first.first);
    return shard == nullptr || shard->epoch != claim.second || !shard->isJoining(claim.first.second);
  });
}

void Chunkservers::leave(ServerId server, const Incarnation& incarnation) {
  roster_.leave(server, incarnation, clock_.monotonic());
  lookSoon();
}

void Chunkservers::disconnected(ServerId server, const Incarnation& incarnation) {
  roster_.disconnected(server, incarnation);
}

std::map<ServerId, MapVersion> Chunkservers::fencesDrained() const {
  std::map<ServerId, MapVersion> out;
  for (auto& [id, member] : roster_.members()) {
    if (member.registered) {
      out[id] = member.fencesDrained;
    }
  }
  return out;
}

void Chunkservers::mapChanged() {
  lookSoon();
}

void Chunkservers::tick() {
  Nanos now = clock_.monotonic();
  roster_.passTime(now);
  bool due = lookAgain_.has_value() && now >= *lookAgain_;
  if (due || roster_.revision() != revisionSeen_) {
    lookSoon();
  }
}

void Chunkservers::lookSoon() {
  if (!lookDue_) {
    lookDue_ = true;
    tasks_.add(kj::evalLast([this] {
      if (!settling_) {
        settling_ = true;
        tasks_.add(settle().promise());
      }
    }));
  }
}

Task<void> Chunkservers::settle() {
  KJ_DEFER(settling_ = false);
  for (bool more = true; more;) {
    lookDue_ = false;
    bool again = co_await settleOnce();
    more = again || lookDue_;
  }
}

// One look at the rules; true when there may be more to decide at once.
Task<bool> Chunkservers::settleOnce() {
  forgetOldClaims();
  std::vector<CaughtUp> caughtUp;
  for (auto& [key, epoch] : claims_) {
    caughtUp.push_back({key.first, epoch, key.second});
  }
  roster_.follow(map(), clock_.monotonic());
  revisionSeen_ = roster_.revision();
  Decision decision = decide(map(), roster_, caughtUp, rules(), clock_.monotonic(), targets_);
  lookAgain_ = decision.lookAgain;
  if (decision.change.empty()) {
    co_return false;
  }
  auto applied = co_await proposeDrop(replica_, decision.change, roster_, decision.dropped);
  Status outcome = outcomeOf(applied);
  if (outcome.ok()) {
    describe(decision.change, map());
    co_return true;
  }
  if (outcome.code() == EAGAIN) {
    co_return true;
  }
  spdlog::error("the shard map can't be changed: {}", outcome.error().why);
  lookAgain_ = clock_.monotonic() + RETRY;
  co_return false;
}

void Chunkservers::describe(const MapChange& change, const ShardMap& map) {
  for (auto& server : change.servers) {
    spdlog::info("chunkserver {} is {} (incarnation {})", server.name, server.online ? "online" : "gone",
                 toText(server.incarnation));
  }
  if (!change.shards.empty()) {
    size_t joining = 0;
    for (auto& shard : change.shards) {
      joining += shard.joining.size();
    }
    spdlog::info("shard map {}: {} shards changed, {} copies joining in them", raw(map.version), change.shards.size(),
                 joining);
  }
}

}  // namespace cairn
