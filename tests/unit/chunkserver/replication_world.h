// A few real chunkserver daemons in a simulated world, with a master whose every decision the test makes.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunkserver/daemon.h"
#include "rpc/connection.h"
#include "rpc/shard_map.h"
#include "schema/chunk.capnp.h"
#include "schema/master.capnp.h"
#include "tests/sim/world/world.h"

namespace cairn::replication_test {

constexpr ClusterId CLUSTER{77, 78};
constexpr ClassId CLASS{1};
constexpr uint8_t SHARD_BITS = 2;
constexpr Nanos PATIENCE = 30 * SECOND;

using Bytes = std::vector<kj::byte>;

// What a chunkserver has told the master.
struct Registered {
  ServerRecord record;
  std::vector<VolumeId> volumes;
  std::optional<wire::MapWatcher::Client> watcher;
  MapVersion mapVersion{};
  MapVersion fencesDrained{};
  std::vector<std::pair<ShardId, Epoch>> caughtUp;
  std::vector<ServerId> suspects;
  std::vector<uint64_t> done;
  std::map<VolumeId, std::string> failed;
  uint64_t badBlocks = 0;
  uint64_t adoptedBlocks = 0;
  uint64_t takenOverBytes = 0;
  bool left = false;
  uint64_t beats = 0;
};

class ScriptedMaster {
 public:
  explicit ScriptedMaster(World& world);
  ~ScriptedMaster() noexcept(false);

  ShardMap map;
  std::map<std::string, Registered> servers;           // by name
  std::set<std::string> noLease;                       // heartbeats of these give no lease
  std::vector<std::pair<uint64_t, ObjectId>> reclaim;  // handed out with each heartbeat
  struct CutWork {
    uint64_t id;
    ObjectId object;
    uint32_t generation;
    uint64_t firstDead;
    uint32_t chunks;
  };
  std::vector<CutWork> cuts;

  // The server's incarnation and volumes enter the map (with the next publish()).
  void admit(const std::string& name);
  VolumeNumber volumeOf(const std::string& name, size_t index = 0) const;
  // All shards get this acting set; the first in-sync one is primary. The epoch rises.
  void setAll(const std::vector<std::string>& inSync, const std::vector<std::string>& joining = {});
  void setShard(ShardId shard, const std::vector<std::string>& inSync, const std::vector<std::string>& joining = {},
                bool newEpoch = true);
  // Raises the version and sends the map to all.
  void publish();
  void publishTo(const std::string& name);
  std::string nameOf(VolumeNumber volume) const;

 private:
  class Door;
  class Service;
  class RegistrationService;
  World& world_;
  kj::Own<RpcServer> server_;
};

// An answer of ChunkService, in plain words.
struct Answer {
  wire::Verdict verdict = wire::Verdict::FAILED;
  std::string why;
  std::map<VolumeNumber, Incarnation> verifiers;
  std::map<VolumeNumber, Epoch> since;
  int64_t allocatedDelta = 0;
  std::vector<kj::byte> data;  // of a read, as long as asked for
  bool intact = true;          // every block of a read matches its checksum
  bool lost = false;           // no answer
  bool ok() const { return !lost && verdict == wire::Verdict::OK; }
};

class ReplicationWorld {
 public:
  explicit ReplicationWorld(uint64_t seed);
  ~ReplicationWorld() noexcept(false);

  World world;
  ScriptedMaster master;
  bool print = false;
  uint32_t repairMibPerSecond = 0;  // of servers started from now on

  void start(const std::string& name);
  void startAll(const std::vector<std::string>& names);
  // The process is killed; what the system had in its cache stays.
  void kill(const std::string& name);
  void powerCut(const std::string& name);
  void stop(const std::string& name);  // in good order
  // Why the server wants to end by itself; empty: it doesn't.
  std::map<std::string, std::string> wantsToEnd;
  bool runs(const std::string& name) const { return servers_.count(name) != 0; }
  SimVolume& disk(const std::string& name) { return world.volume(name + "-v1"); }

  // Starts c1, c2, c3 with all shards on them, primary c1.
  void startThree();
  // Waits until the server answers a read of every shard.
  bool awaitReady(const std::string& name);
  bool awaitCaughtUp(const std::string& name);
  bool until(const std::function<bool()>& condition, Nanos limit = PATIENCE) {
    return world.runUntil(condition, limit);
  }

  ShardId shardOf(uint64_t object, uint32_t index = 0) const {
    return cairn::shardOf(CLASS, SHARD_BITS, {ObjectId{object}, index});
  }
  uint64_t session = 5;
  uint32_t generation = 0;
  std::vector<std::pair<uint32_t, uint64_t>> cuts;

  kj::Promise<Answer> sendWrite(const std::string& server, uint64_t object, uint32_t offset,
                                std::vector<kj::byte> bytes, bool durable = false);
  Answer write(const std::string& server, uint64_t object, uint32_t offset, std::vector<kj::byte> bytes,
               bool durable = false);
  kj::Promise<Answer> sendRead(const std::string& server, uint64_t object, uint32_t offset, uint32_t length);
  Answer read(const std::string& server, uint64_t object, uint32_t offset, uint32_t length);
  Answer sync(const std::string& server, uint64_t object);
  Answer punch(const std::string& server, uint64_t object, uint32_t offset, uint32_t length);
  void reportBad(const std::string& server, uint64_t object, std::vector<uint32_t> blocks);
  // How the scrub of the server's volume stands; `start`: a fast pass begins.
  struct ScrubSeen {
    bool running = false;
    int64_t lastEnded = 0;
    uint64_t bad = 0, mended = 0, unmended = 0, differing = 0;
  };
  ScrubSeen scrub(const std::string& server, bool start);
  // A whole pass, from now.
  bool scrubWhole(const std::string& server);
  // A fresh PeerService of the server, as another chunkserver gets it.
  wire::PeerService::Client peer(const std::string& server);
  void fillTarget(wire::Target::Builder out, uint64_t object, bool asPeer = false);

  static std::vector<kj::byte> bytes(uint64_t seed, size_t size);

 private:
  struct Running {
    kj::Own<SimWorkers> workers;
    kj::Own<SimRandom> random;
    std::unique_ptr<leveldb::Env> bareEnv;
    std::unique_ptr<leveldb::Env> env;
    kj::Own<Disk> homeDisk;
    kj::Own<Disk> disk;
    kj::Own<ServerHome> home;
    kj::Own<Daemon> daemon;
    kj::Promise<void> ended = nullptr;
  };
  struct Reached {
    kj::Own<Link> link;
    std::optional<wire::ChunkService::Client> chunks;
    std::optional<wire::PeerService::Client> peer;
  };
  Reached& reach(const std::string& server);
  template <typename T>
  T settle(kj::Promise<T> promise) {
    return world.await(kj::mv(promise), PATIENCE);
  }
  void died(const std::string& name);

  std::map<std::string, Running> servers_;
  std::map<std::string, uint64_t> starts_;
  std::map<std::string, Reached> links_;
};

void expectOk(const Answer& answer);
// Every server gives the same bytes.
void expectEverywhere(ReplicationWorld& w, const std::vector<std::string>& servers, uint64_t object, uint32_t offset,
                      const Bytes& bytes);

}  // namespace cairn::replication_test
