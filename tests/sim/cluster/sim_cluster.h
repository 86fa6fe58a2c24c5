// SimCluster: masters m1..mM, chunkservers c1..cN and mounts in a simulated world. Hosts can crash (the process is
// killed, the page cache stays), lose power (unsynced bytes are lost by chance, the network falls silent), leave in
// good order, and be cut off through world().network().
//
//   World world(seed);
//   SimCluster cluster(world);
//   cluster.start();                          until every shard has all its copies in sync
//   Client& k1 = cluster.mount("k1");
//   auto made = cluster.wait(k1.create(...));
//   cluster.powerCut("c2");
//   cluster.restart("c2");
//   cluster.waitHealthy();
//
// Called from the test, never from inside a task. Tasks of a mount must be gone before it is unmounted or killed.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "fuse-client/client/client.h"
#include "tests/sim/cluster/map_monitor.h"
#include "tests/sim/cluster/sim_process.h"
#include "tests/sim/world/world.h"

namespace cairn {

struct SimClusterOptions {
  unsigned masters = 1;
  unsigned servers = 3;
  uint8_t shardBits = 3;
  uint32_t copies = 3;
  uint32_t minCopies = 2;
  uint32_t repairDelaySeconds = 20;
  uint32_t trashSeconds = 0;
  unsigned racks = 0;  // r1, r2, ...: servers are in them in turn; 0: they don't say
};

class SimCluster {
 public:
  // What one step of a test may take before it counts as stuck.
  static constexpr Nanos LIMIT = 60 * SECOND;

  explicit SimCluster(World& world, SimClusterOptions options = {});
  ~SimCluster() noexcept(false);
  KJ_DISALLOW_COPY(SimCluster);

  World& world() { return world_; }
  SimNetwork& network() { return world_.network(); }
  template <typename T>
  T wait(Task<T> task, Nanos limit = LIMIT) {
    return world_.await(kj::mv(task), limit);
  }

  // ---- daemons
  const std::vector<std::string>& servers() const { return servers_; }
  const std::vector<std::string>& masters() const { return masters_; }
  // The master that leads, of two that think so the later one; empty: none does.
  std::string leaderNow();
  // Waits for one.
  std::string leader();
  // Masters besides that one.
  std::vector<std::string> mastersBut(const std::string& master) const;
  // The masters that are up hold the same state.
  bool mastersAgree();
  // All of them for the first time, until healthy.
  void start();
  // A further chunkserver, empty; its name. Doesn't wait.
  std::string addServer();
  void crash(const std::string& host);
  void powerCut(const std::string& host);
  void stop(const std::string& host);
  // The next life of a host that is down. Doesn't wait.
  void restart(const std::string& host);
  // The program that the host runs from its next life on knows that feature level.
  void install(const std::string& host, uint32_t level) { hosts_.at(host).setup.level = level; }
  // As the leading master has it.
  uint32_t featureLevel() { return hosts_.at(leader()).process->featureLevel(); }
  // Why a daemon that is up has ended by itself; empty when it hasn't.
  std::string endOf(const std::string& host) const { return hosts_.at(host).process->died(); }
  bool isUp(const std::string& host) const { return hosts_.at(host).process.get() != nullptr; }
  // Throws when a daemon has ended by itself.
  void requireAlive() const;

  // ---- the map, as the leading master has it; as it was last when none leads. A reference holds until the next call.
  const ShardMap& map();
  // A master leads, all vote, every chunkserver is online, every shard has all its copies in sync and none joining.
  bool isHealthy();
  // A master leads, and every shard has its copies in sync where they belong, on chunkservers that are up.
  bool isRepaired();
  // What is in the trash, as the leading master has it.
  uint64_t trashItems() { return hosts_.at(leader()).process->trashItems(); }
  // How many copies the chunkserver holds or makes.
  size_t copiesOn(const std::string& host);
  void waitHealthy(Nanos limit = LIMIT);
  void waitRepaired(Nanos limit = LIMIT);
  void waitFor(const char* what, const std::function<bool()>& condition, Nanos limit = LIMIT);
  ShardRecord shardOf(const Attributes& file, uint32_t chunk);
  // Until the shard's epoch is past `epoch`; the record then.
  ShardRecord waitEpochChange(ShardId shard, Epoch epoch, Nanos limit = LIMIT);
  VolumeNumber volumeOf(const std::string& host);
  std::string hostOf(VolumeNumber volume);
  std::string primaryOf(const ShardRecord& shard) { return hostOf(shard.primary); }
  // In-sync members besides the primary.
  std::vector<std::string> backupsOf(const ShardRecord& shard);
  std::string addressOf(const std::string& host) const { return hosts_.at(host).setup.address; }
  ClusterFile clusterFile() const { return clusterFile_; }

  // ---- mounts; each is a host of its own
  // A new one, attached.
  Client& mount(const std::string& name, ClientOptions options = {});
  Client& client(const std::string& name) { return *mounts_.at(name).client; }
  // As a process that is killed.
  void kill(const std::string& name);
  Status unmount(const std::string& name);

 private:
  struct Host {
    SimProcessSetup setup;
    bool isMaster = false;
    bool silent = false;  // without power
    kj::Own<SimProcess> process;
  };
  struct Mount {
    kj::Own<SimRandom> random;
    kj::Own<Client> client;
  };

  const ShardMap* leadersMap();
  size_t copiesWanted(const ShardMap& map, ShardId shard) const;
  void observe();
  void addHost(const std::string& name, const std::string& address, bool isMaster, std::string rack = {});
  std::string rackOf(unsigned server) const;
  void nameMasters();
  void begin(Host& host);
  // As far as it can be seen in time: the volumes of a daemon that ends.
  std::vector<SimVolume*> volumesOf(const Host& host);

  World& world_;
  const SimClusterOptions options_;
  ClusterFile clusterFile_;
  std::vector<std::string> servers_;
  std::vector<std::string> masters_;
  std::map<std::string, Host> hosts_;
  ShardMap lastMap_;
  MapMonitor monitor_;
  std::map<std::string, Mount> mounts_;
  unsigned mountsMade_ = 0;
};

}  // namespace cairn
