// One master in a simulated world, with clients and chunkservers that say just what a test wants them to.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "master/member.h"
#include "rpc/connection.h"
#include "tests/sim/world/world.h"

namespace cairn {

constexpr Nanos LIMIT = 30 * SECOND;

// Follows the map, as long as it isn't told to be silent.
struct TestWatcher {
  ShardMap map;
  bool silent = false;
  unsigned pushes = 0;
  unsigned completePushes = 0;
  wire::MapWatcher::Client client();
};

// A connection to the master, from a host of its own.
class TestLink {
 public:
  TestLink(World& world, std::string host, const std::string& address);
  wire::MasterDoor::Client door() { return link->bootstrap().castAs<wire::MasterDoor>(); }
  // Through the door, with this cluster's hello.
  wire::Master::Client master(ClusterId cluster, wire::Role role);
  wire::Admin::Client admin(ClusterId cluster);

  World& world;
  kj::Own<Link> link;
};

struct MasterWorld {
  static constexpr ClusterId CLUSTER{11, 22};

  explicit MasterWorld(uint64_t seed = 1, uint32_t servers = 3);
  ~MasterWorld() noexcept(false);

  void start();
  void stop();   // in good order
  void crash();  // its process dies
  void powerCut();
  void restart() {
    crash();
    start();
  }

  World world;
  MemberOptions options;
  std::string address = "m1:7000";
  struct Process;
  std::unique_ptr<Process> process;
  Member& member();
};

// A mount, as the master sees it.
class TestClient {
 public:
  // What becomes of a recall; NONE: it takes no leases.
  enum class Recalls { NONE, ANSWERED, REFUSED, IGNORED };

  TestClient(MasterWorld& cluster, std::string host, Recalls recalls = Recalls::NONE);

  // Success, or the errno of the refusal. `attempt` 0: the next one.
  int attach(uint64_t attempt = 0);
  void hangUp() { link = nullptr; }
  // The outcome's errno; -1 when the link broke or the session isn't this link's any more.
  int make(const std::string& name, bool hold = false, uint32_t mode = 0100644);
  int unlink(const std::string& name);
  int rename(const std::string& from, const std::string& to);
  int written(InodeId inode, uint64_t object, uint64_t size);
  int truncate(InodeId inode, uint64_t size);
  int exists(InodeId inode);  // its link count, or -errno
  bool hold(std::vector<InodeId> taken, std::vector<InodeId> dropped);
  bool renew();
  bool detach();
  kj::Promise<int> start(const std::function<void(wire::Op::Builder)>& fill);
  int execute(const std::function<void(wire::Op::Builder)>& fill);
  // The last request again, as after a broken link.
  int repeat();

  MasterWorld& cluster;
  std::string host;
  std::unique_ptr<TestWatcher> watcher = std::make_unique<TestWatcher>();
  std::unique_ptr<TestLink> link;
  kj::Maybe<wire::ClientSession::Client> session;
  uint64_t id = 0;
  uint64_t sequence = 0;
  uint64_t attempts = 0;
  // Of the last reply.
  InodeId inode{};
  uint64_t object = 0;
  uint64_t index = 0;
  uint8_t leased = 0;
  const Recalls recalls;
  std::vector<InodeId> recalled;
  Nanos renewedAt = 0;  // attached or renewed

 private:
  std::function<void(wire::Op::Builder)> last_;
};

// A chunkserver, as the master sees it: beats by itself.
class TestServer final : private kj::TaskSet::ErrorHandler {
 public:
  TestServer(MasterWorld& cluster, std::string name, uint32_t volumes = 1);

  // Connects and registers; the outcome's errno.
  int start();
  void restart() {
    kill();
    incarnation = cluster.world.random(name + std::to_string(++lives))->uuid<Incarnation>();
    ASSERT_EQ(start(), 0);
  }
  void kill();
  bool leave();
  Task<void> beats();
  VolumeNumber number(size_t volume = 0) const;

  MasterWorld& cluster;
  std::string name;
  ServerId id;
  Incarnation incarnation;
  std::vector<VolumeId> volumes;
  std::unique_ptr<TestWatcher> watcher = std::make_unique<TestWatcher>();
  std::unique_ptr<TestLink> link;
  kj::Maybe<wire::Registration::Client> registration;
  int lives = 0;
  // What it says and what it was told.
  bool catchesUp = true;
  bool doesWork = true;
  bool drains = true;
  uint64_t badBlocks = 0;
  static constexpr uint64_t TOTAL_BYTES = uint64_t{1} << 40;  // of each volume
  uint64_t usedBytes = 0;
  std::vector<ServerId> suspects;
  std::vector<uint64_t> work, done;
  unsigned reclaims = 0, cuts = 0;
  Nanos lease = 0;
  int refused = 0;

 private:
  void takeWork(wire::Work::Reader work);
  void report(wire::Heartbeat::Builder beat);
  void taskFailed(kj::Exception&&) override {}
  kj::Maybe<kj::Own<kj::TaskSet>> tasks_;
};

}  // namespace cairn
