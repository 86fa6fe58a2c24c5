#include "tests/sim/cluster/sim_cluster.h"

#include <kj/debug.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>

#include "common/log.h"

namespace cairn {
namespace {

// What the daemons log, under the world's time, between the lines of the trace.
class TimedSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit TimedSink(Clock& clock) : clock_(clock) {}

 private:
  void sink_it_(const spdlog::details::log_msg& line) override {
    fprintf(stderr, "%10.6f   %.*s\n", static_cast<double>(clock_.monotonic()) / SECOND,
            static_cast<int>(line.payload.size()), line.payload.data());
  }
  void flush_() override {}
  Clock& clock_;
};

}  // namespace

SimCluster::SimCluster(World& world, SimClusterOptions options) : world_(world), options_(options) {
  const char* level = getenv("CAIRN_SIM_LOG");
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("sim", std::make_shared<TimedSink>(world.clock())));
  spdlog::set_level(spdlog::level::from_str(level == nullptr ? "off" : level));
  world.trace().print(level != nullptr);
  clusterFile_.cluster = ClusterId{0x51, world.seed()};
  nameMasters();
  clusterFile_.copies = options.copies;
  clusterFile_.minCopies = options.minCopies;
  clusterFile_.servers = options.servers;
  clusterFile_.repairDelaySeconds = options.repairDelaySeconds;
  for (auto& master : clusterFile_.masters) {
    addHost(master.name, master.address, true);
  }
  for (unsigned i = 1; i <= options.servers; ++i) {
    std::string name = "c" + std::to_string(i);
    servers_.push_back(name);
    addHost(name, name + ":7100", false, rackOf(i));
  }
  world.watch([this] { observe(); });
}

SimCluster::~SimCluster() noexcept(false) {
  world_.watch(nullptr);
  mounts_.clear();
  hosts_.clear();
  spdlog::set_level(spdlog::level::off);
}

void SimCluster::nameMasters() {
  for (unsigned i = 1; i <= options_.masters; ++i) {
    std::string name = "m" + std::to_string(i);
    masters_.push_back(name);
    clusterFile_.masters.push_back({name, name + ":7000", ""});
  }
}

void SimCluster::addHost(const std::string& name, const std::string& address, bool isMaster, std::string rack) {
  Host& host = hosts_[name];
  host.setup.cluster = clusterFile_;
  host.setup.host = name;
  host.setup.address = address;
  host.setup.rack = std::move(rack);
  host.setup.life = 0;
  host.setup.shardBits = options_.shardBits;
  host.setup.trashSeconds = options_.trashSeconds;
  host.setup.founds = isMaster && name == masters_.front();
  host.isMaster = isMaster;
}

std::string SimCluster::rackOf(unsigned server) const {
  return options_.racks == 0 ? "" : "r" + std::to_string((server - 1) % options_.racks + 1);
}

// ---- daemons ------------------------------------------------------------------------------------

void SimCluster::begin(Host& host) {
  KJ_REQUIRE(host.process.get() == nullptr, "this host is up already", host.setup.host);
  world_.note("start " + host.setup.host);
  if (host.silent) {
    host.silent = false;
    network().powerOn(host.setup.host);
  }
  ++host.setup.life;
  host.process = host.isMaster ? startSimMaster(world_, host.setup) : startSimServer(world_, host.setup);
}

void SimCluster::start() {
  if (masters_.size() > 1) {  // the others join the first
    begin(hosts_.at(masters_.front()));
    leader();
  }
  for (auto& [name, host] : hosts_) {
    if (host.process.get() == nullptr) {
      begin(host);
    }
  }
  waitHealthy();
}

std::string SimCluster::addServer() {
  std::string name = "c" + std::to_string(servers_.size() + 1);
  servers_.push_back(name);
  addHost(name, name + ":7100", false, rackOf(servers_.size()));
  begin(hosts_.at(name));
  return name;
}

void SimCluster::restart(const std::string& host) { begin(hosts_.at(host)); }

std::vector<SimVolume*> SimCluster::volumesOf(const Host& host) {
  std::vector<SimVolume*> out{&world_.volume(host.setup.host)};
  if (!host.isMaster) {
    out.push_back(&world_.volume(host.setup.host + ".home"));
  }
  return out;
}

void SimCluster::crash(const std::string& name) {
  world_.note("crash " + name);
  map();
  Host& host = hosts_.at(name);
  for (auto* volume : volumesOf(host)) {
    volume->processDied();
  }
  host.process = nullptr;
}

void SimCluster::powerCut(const std::string& name) {
  world_.note("power cut " + name);
  map();
  Host& host = hosts_.at(name);
  network().powerOff(name);
  for (auto* volume : volumesOf(host)) {
    volume->powerCut();
  }
  host.silent = true;
  host.process = nullptr;
}

void SimCluster::stop(const std::string& name) {
  world_.note("stop " + name);
  map();
  Host& host = hosts_.at(name);
  wait(host.process->stop());
  for (auto* volume : volumesOf(host)) {
    volume->processDied();
  }
  host.process = nullptr;
}

void SimCluster::requireAlive() const {
  for (auto& [name, host] : hosts_) {
    if (host.process.get() != nullptr) {
      KJ_REQUIRE(host.process->died().empty(), "a daemon has ended by itself", name, host.process->died());
    }
  }
}

// ---- masters ------------------------------------------------------------------------------------

std::string SimCluster::leaderNow() {
  std::string found;
  Term newest{};
  for (auto& master : masters_) {
    auto& process = hosts_.at(master).process;
    auto term = process.get() == nullptr ? std::nullopt : process->leads();
    if (term && (found.empty() || *term > newest)) {
      found = master;
      newest = *term;
    }
  }
  return found;
}

std::string SimCluster::leader() {
  waitFor("a master to lead", [this] { return !leaderNow().empty(); });
  return leaderNow();
}

std::vector<std::string> SimCluster::mastersBut(const std::string& master) const {
  std::vector<std::string> others = masters_;
  std::erase(others, master);
  return others;
}

bool SimCluster::mastersAgree() {
  std::optional<SimProcess::State> first;
  for (auto& master : masters_) {
    auto& process = hosts_.at(master).process;
    if (process.get() == nullptr) {
      continue;
    }
    auto state = process->state();
    if (first && *first != state) {
      return false;
    }
    first = state;
  }
  return true;
}

// ---- the map ------------------------------------------------------------------------------------

const ShardMap* SimCluster::leadersMap() {
  std::string leads = leaderNow();
  return leads.empty() ? nullptr : hosts_.at(leads).process->map();
}

void SimCluster::observe() {
  const ShardMap* now = leadersMap();
  std::string problem = now == nullptr ? "" : monitor_.see(*now);
  KJ_REQUIRE(problem.empty(), "the shard map breaks a rule", problem, world_.seed(), world_.clock().monotonic());
}

const ShardMap& SimCluster::map() {
  const ShardMap* now = leadersMap();
  if (now != nullptr && now->version > lastMap_.version) {
    lastMap_ = *now;
  }
  return lastMap_;
}

size_t SimCluster::copiesWanted(const ShardMap& map, ShardId shard) const {
  auto cls = map.classes.find(shardClass(shard));
  return cls == map.classes.end() ? options_.copies : cls->second.copies;
}

bool SimCluster::isHealthy() {
  const ShardMap& now = map();
  if (leaderNow().empty() || now.shards.empty() || now.servers.size() < servers_.size()) {
    return false;
  }
  for (auto& [name, host] : hosts_) {
    if (host.process.get() == nullptr || !host.process->serving()) {
      return false;
    }
  }
  for (auto& [id, server] : now.servers) {
    if (!server.online) {
      return false;
    }
  }
  for (auto& [id, shard] : now.shards) {
    if (shard.inSync.size() < copiesWanted(now, id) || !shard.joining.empty()) {
      return false;
    }
  }
  return true;
}

bool SimCluster::isRepaired() {
  const ShardMap& now = map();
  if (leaderNow().empty() || now.shards.empty()) {
    return false;
  }
  for (auto& [id, shard] : now.shards) {
    std::set<VolumeNumber> inSync(shard.inSync.begin(), shard.inSync.end());
    std::set<VolumeNumber> target(shard.target.begin(), shard.target.end());
    if (inSync.size() < copiesWanted(now, id) || inSync != target || !shard.joining.empty()) {
      return false;
    }
    for (VolumeNumber volume : inSync) {
      const ServerRecord* server = now.serverOf(volume);
      if (!server->online || !isUp(server->name)) {
        return false;
      }
    }
  }
  return true;
}

size_t SimCluster::copiesOn(const std::string& host) {
  size_t count = 0;
  VolumeNumber volume = volumeOf(host);
  for (auto& [id, shard] : map().shards) {
    count += shard.isInSync(volume) || shard.isJoining(volume) ||
             std::find(shard.target.begin(), shard.target.end(), volume) != shard.target.end();
  }
  return count;
}

void SimCluster::waitRepaired(Nanos limit) {
  waitFor("every copy to be where it belongs", [this] { return isRepaired(); }, limit);
}

void SimCluster::waitHealthy(Nanos limit) {
  waitFor("the cluster to be healthy", [this] { return isHealthy(); }, limit);
}

void SimCluster::waitFor(const char* what, const std::function<bool()>& condition, Nanos limit) {
  auto holds = [&] {
    requireAlive();
    return condition();
  };
  KJ_REQUIRE(world_.runUntil(holds, limit), "waited in vain", what, limit / SECOND, world_.seed());
}

ShardRecord SimCluster::shardOf(const Attributes& file, uint32_t chunk) {
  const ShardRecord* record = map().shard(file.layout.cls, ChunkId{file.layout.object, chunk});
  KJ_REQUIRE(record != nullptr, "the map has no such shard", raw(file.layout.object));
  return *record;
}

ShardRecord SimCluster::waitEpochChange(ShardId shard, Epoch epoch, Nanos limit) {
  waitFor("a new epoch", [&] { return map().shard(shard)->epoch > epoch; }, limit);
  return *map().shard(shard);
}

VolumeNumber SimCluster::volumeOf(const std::string& host) {
  for (auto& [number, volume] : map().volumes) {
    if (lastMap_.serverOf(number)->name == host) {
      return number;
    }
  }
  KJ_FAIL_REQUIRE("the map has no volume of this host", host);
}

std::string SimCluster::hostOf(VolumeNumber volume) {
  const ServerRecord* server = map().serverOf(volume);
  KJ_REQUIRE(server != nullptr, "the map has no such volume", raw(volume));
  return server->name;
}

std::vector<std::string> SimCluster::backupsOf(const ShardRecord& shard) {
  std::vector<std::string> out;
  for (VolumeNumber volume : shard.inSync) {
    if (volume != shard.primary) {
      out.push_back(hostOf(volume));
    }
  }
  return out;
}

// ---- mounts -------------------------------------------------------------------------------------

Client& SimCluster::mount(const std::string& name, ClientOptions options) {
  KJ_REQUIRE(mounts_.count(name) == 0, "this mount is there already", name);
  Mount& mount = mounts_[name];
  options.name = name + ":/mnt";
  options.hostId = name;
  mount.random = world_.random(name + "#" + std::to_string(++mountsMade_));
  mount.client =
      kj::heap<Client>(world_.clock(), network().host(name), *mount.random, clusterFile_, kj::mv(options));
  Status started = wait(mount.client->start());
  KJ_REQUIRE(started.ok(), "the mount doesn't attach", name, started.error().why);
  return *mount.client;
}

void SimCluster::kill(const std::string& name) {
  world_.note("kill " + name);
  mounts_.erase(name);
}

Status SimCluster::unmount(const std::string& name) {
  Status stopped = wait(mounts_.at(name).client->stop());
  mounts_.erase(name);
  return stopped;
}

}  // namespace cairn
