#include "tests/unit/chunkserver/replication_world.h"

namespace cairn::replication_test {

class ScriptedMaster::RegistrationService final : public wire::Registration::Server {
 public:
  RegistrationService(ScriptedMaster& master, std::string name, Incarnation incarnation)
      : master_(master), name_(std::move(name)), incarnation_(incarnation) {}

  kj::Promise<void> heartbeat(HeartbeatContext context) override {
    auto beat = context.getParams().getBeat();
    Registered& server = master_.servers[name_];
    auto results = context.getResults();
    if (server.record.incarnation != incarnation_) {
      results.initOutcome().setErrno(ESTALE);
      return kj::READY_NOW;
    }
    ++server.beats;
    server.mapVersion = MapVersion{beat.getMapVersion()};
    server.fencesDrained = MapVersion{beat.getFencesDrained()};
    server.takenOverBytes = beat.getTakenOverBytes();
    server.caughtUp.clear();
    for (auto item : beat.getCaughtUp()) {
      server.caughtUp.push_back({ShardId{item.getShard()}, Epoch{item.getEpoch()}});
    }
    server.suspects.clear();
    for (auto item : beat.getSuspects()) {
      server.suspects.push_back(fromWire<ServerTag>(item));
    }
    for (uint64_t id : beat.getDone()) {
      server.done.push_back(id);
    }
    server.badBlocks = server.adoptedBlocks = 0;
    for (auto volume : beat.getVolumes()) {
      server.failed[fromWire<VolumeTag>(volume.getId())] = volume.getFailed().cStr();
      server.badBlocks += volume.getBadBlocks();
      server.adoptedBlocks += volume.getAdoptedBlocks();
    }
    fillWork(results.initWork());
    bool lease = master_.noLease.count(name_) == 0;
    results.setLeaseNanos(lease ? 700 * MILLISECOND : 0);
    return kj::READY_NOW;
  }

  kj::Promise<void> leave(LeaveContext) override {
    master_.servers[name_].left = true;
    return kj::READY_NOW;
  }

 private:
  void fillWork(wire::Work::Builder out) {
    auto reclaim = out.initReclaim(static_cast<unsigned>(master_.reclaim.size()));
    for (uint32_t i = 0; i < reclaim.size(); ++i) {
      reclaim[i].setId(master_.reclaim[i].first);
      reclaim[i].setObject(raw(master_.reclaim[i].second));
      reclaim[i].setClass(raw(CLASS));
      reclaim[i].setChunks(3);
    }
    auto cuts = out.initCuts(static_cast<unsigned>(master_.cuts.size()));
    for (uint32_t i = 0; i < cuts.size(); ++i) {
      cuts[i].setId(master_.cuts[i].id);
      cuts[i].setObject(raw(master_.cuts[i].object));
      cuts[i].setClass(raw(CLASS));
      cuts[i].setChunkBits(DEFAULT_CHUNK_BITS);
      cuts[i].setGeneration(master_.cuts[i].generation);
      cuts[i].setFirstDead(master_.cuts[i].firstDead);
      cuts[i].setChunks(master_.cuts[i].chunks);
    }
  }

  ScriptedMaster& master_;
  const std::string name_;
  const Incarnation incarnation_;
};

class ScriptedMaster::Service final : public wire::Master::Server {
 public:
  explicit Service(ScriptedMaster& master) : master_(master) {}

  kj::Promise<void> register_(RegisterContext context) override {
    auto hello = context.getParams().getServer();
    std::string name = hello.getName().cStr();
    Registered& server = master_.servers[name];
    bool anew = server.record.incarnation != fromWire<IncarnationTag>(hello.getIncarnation());
    if (anew) {
      server = Registered();
    }
    server.record = {fromWire<ServerTag>(hello.getId()),
                     name,
                     fromWire<IncarnationTag>(hello.getIncarnation()),
                     hello.getAddress().cStr(),
                     hello.getSocket().cStr(),
                     hello.getHostId().cStr(),
                     wire::ServerState::IN_SERVICE,
                     true};
    server.volumes.clear();
    for (auto volume : hello.getVolumes()) {
      server.volumes.push_back(fromWire<VolumeTag>(volume.getId()));
      server.failed[server.volumes.back()] = volume.getUsable() ? "" : volume.getWhy().cStr();
    }
    server.watcher = context.getParams().getWatcher();
    auto results = context.getResults();
    results.initOutcome();
    results.setRegistration(kj::heap<RegistrationService>(master_, name, server.record.incarnation));
    master_.publishTo(name);
    return kj::READY_NOW;
  }

 private:
  ScriptedMaster& master_;
};

class ScriptedMaster::Door final : public wire::MasterDoor::Server {
 public:
  explicit Door(ScriptedMaster& master) : master_(master) {}
  kj::Promise<void> enter(EnterContext context) override {
    auto results = context.getResults();
    results.initOutcome();
    results.setMaster(kj::heap<Service>(master_));
    return kj::READY_NOW;
  }

 private:
  ScriptedMaster& master_;
};

ScriptedMaster::ScriptedMaster(World& world) : world_(world) {
  auto listener = world.network().host("m1").listen("m1:7000");
  auto door = [this](const PeerIdentity&) -> capnp::Capability::Client { return kj::heap<Door>(*this); };
  server_ = serveRpc(kj::mv(listener.value()), door);
  map.version = MapVersion{1};
  map.classes[CLASS] = {CLASS, 3, 2, SHARD_BITS};
}

ScriptedMaster::~ScriptedMaster() noexcept(false) = default;

void ScriptedMaster::admit(const std::string& name) {
  Registered& server = servers.at(name);
  map.servers[server.record.id] = server.record;
  for (VolumeId id : server.volumes) {
    bool known = false;
    for (auto& [number, record] : map.volumes) {
      known = known || record.id == id;
    }
    if (!known) {
      VolumeNumber number{static_cast<uint32_t>(map.volumes.size() + 1)};
      map.volumes[number] = {number, id, server.record.id, 1, true};
    }
  }
}

VolumeNumber ScriptedMaster::volumeOf(const std::string& name, size_t index) const {
  VolumeId id = servers.at(name).volumes.at(index);
  for (auto& [number, record] : map.volumes) {
    if (record.id == id) {
      return number;
    }
  }
  return VolumeNumber{0};
}

std::string ScriptedMaster::nameOf(VolumeNumber volume) const {
  const ServerRecord* server = map.serverOf(volume);
  return server == nullptr ? "" : server->name;
}

void ScriptedMaster::setShard(ShardId shard, const std::vector<std::string>& inSync,
                              const std::vector<std::string>& joining, bool newEpoch) {
  ShardRecord& record = map.shards[shard];
  record.id = shard;
  record.inSync.clear();
  record.joining.clear();
  for (auto& name : inSync) {
    record.inSync.push_back(volumeOf(name));
  }
  for (auto& name : joining) {
    record.joining.push_back(volumeOf(name));
  }
  record.target = record.inSync;
  record.primary = record.inSync.front();
  record.epoch = newEpoch ? next(record.epoch) : record.epoch;
  record.changed = next(map.version);
}

void ScriptedMaster::setAll(const std::vector<std::string>& inSync, const std::vector<std::string>& joining) {
  for (uint32_t position = 0; position < 1u << SHARD_BITS; ++position) {
    setShard(makeShardId(CLASS, position), inSync, joining);
  }
}

void ScriptedMaster::publish() {
  map.version = next(map.version);
  for (auto& [name, server] : servers) {
    publishTo(name);
  }
}

void ScriptedMaster::publishTo(const std::string& name) {
  Registered& server = servers.at(name);
  if (!server.watcher) {
    return;
  }
  auto request = server.watcher->pushRequest();
  map.encode(request.initMap(), MapVersion{0});
  request.send().ignoreResult().detach([](kj::Exception&& e) { KJ_LOG(INFO, "a map wasn't taken", e); });
}

}  // namespace cairn::replication_test
