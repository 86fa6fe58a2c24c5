// The replica as a whole, in a simulated world: exactly what was acknowledged is there after any end.
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>

#include "master/replica.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{11, 22};
constexpr Nanos LIMIT = 60 * SECOND;

ReplicaOptions smallOptions() {
  ReplicaOptions options;
  options.cluster = CLUSTER;
  options.member = "m1";
  options.segmentBytes = 256 << 10;
  options.snapshotLogBytes = 1 << 20;
  options.cacheBytes = 1 << 20;
  return options;
}

// One life of a master process.
struct Process {
  explicit Process(World& world, const std::string& volume = "m1", ReplicaOptions options = smallOptions())
      : world(world),
        volume(world.volume(volume)),
        disk(this->volume.open()),
        workers(world.newWorkers(volume)),
        env(world.newEnv()),
        random(world.random(volume)),
        opened(world.await(openReplica(options, world.clock(), *random, *disk, *workers, *env), LIMIT)) {}

  Replica& replica() { return *opened.value(); }
  const NamespaceReader& reader() { return replica().reader(); }

  Result<Applied> propose(const std::function<void(wire::Command::Builder)>& fill) {
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<wire::Command>());
    return world.await(replica().propose(message), LIMIT);
  }

  void format() {
    auto applied = propose([](wire::Command::Builder command) {
      auto format = command.initFormat();
      toWire(CLUSTER, format.initCluster());
      format.initClasses(1)[0].setCopies(3);
    });
    ASSERT_TRUE(applied.ok()) << applied.error().why;
    ASSERT_TRUE(reader().formatted());
  }

  SessionId openSession(uint64_t nonce) {
    auto applied = propose([&](wire::Command::Builder command) { command.initOpenSession().initNonce().setLow(nonce); });
    return applied.ok() ? applied.value().changes.opened : SessionId{};
  }

  // Begins a make; the promise says whether it was acknowledged.
  Task<Result<Applied>> make(SessionId session, uint64_t sequence, const std::string& name) {
    capnp::MallocMessageBuilder message;
    auto client = message.initRoot<wire::Command>().initClient();
    client.setSession(raw(session));
    client.setSlot(static_cast<uint8_t>(sequence % 64));
    client.setSequence(sequence);
    auto op = client.initOp();
    op.initCaller();
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::arrayPtr(reinterpret_cast<const kj::byte*>(name.data()), name.size()));
    make.setMode(S_IFREG | 0644);
    return replica().propose(message);
  }

  World& world;
  SimVolume& volume;
  kj::Own<Disk> disk;
  kj::Own<SimWorkers> workers;
  std::unique_ptr<leveldb::Env> env;
  kj::Own<SimRandom> random;
  Result<kj::Own<Replica>> opened;
};

TEST(Replica, StartsEmptyFormatsAndGoesOn) {
  World world(1);
  uint64_t digest = 0;
  {
    Process process(world);
    ASSERT_TRUE(process.opened.ok()) << process.opened.error().why;
    EXPECT_FALSE(process.reader().formatted());
    process.format();
    auto session = process.openSession(5);
    auto made = world.await(process.make(session, 1, "a"), LIMIT);
    ASSERT_TRUE(made.ok());
    EXPECT_TRUE(process.reader().lookup(ROOT_INODE, "a").ok());
    world.await(process.replica().stop(), LIMIT);
    digest = process.reader().digest();
  }
  world.volume("m1").processDied();
  Process again(world);
  ASSERT_TRUE(again.opened.ok()) << again.opened.error().why;
  EXPECT_TRUE(again.reader().formatted());
  EXPECT_TRUE(again.reader().lookup(ROOT_INODE, "a").ok());
  EXPECT_EQ(again.replica().term(), Term{2});
  EXPECT_NE(again.reader().digest(), digest);  // the new term's first entry
}

}  // namespace
}  // namespace cairn
