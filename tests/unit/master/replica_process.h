// One master's replica in a simulated world, a process at a time, and work for it that can be checked afterwards.
#pragma once
#include <gtest/gtest.h>
#include <kj/vector.h>
#include <sys/stat.h>

#include <optional>
#include <random>
#include <set>
#include <string>

#include <capnp/message.h>

#include "master/replica.h"
#include "tests/sim/world/world.h"

namespace cairn::replica_test {

inline constexpr ClusterId CLUSTER{11, 22};
inline constexpr Nanos LIMIT = 60 * SECOND;

inline ReplicaOptions smallOptions() {
  ReplicaOptions options;
  options.cluster = CLUSTER;
  options.member = "m1";
  options.segmentBytes = 256 << 10;
  options.snapshotLogBytes = 1 << 20;
  options.cacheBytes = 1 << 20;
  options.reserveBytes = 1 << 20;
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
        opened(open(kj::mv(options))) {
    if (opened.ok()) {
      ended = replica().onFatal().then([this](Error error) { fatal = error; }).eagerlyEvaluate(nullptr);
      leads = world.runUntil([this] { return replica().isLeader() || fatal; }, LIMIT) && !fatal;
    }
  }

  Result<kj::Own<Replica>> open(ReplicaOptions options) {
    ClusterFile file;
    file.cluster = CLUSTER;
    file.masters = {{"m1", "m1:7000", ""}};
    ReplicaSeams seams{world.clock(), *random, world.network().host("m1"), *disk, *workers, *env};
    return world.await(openReplica(kj::mv(options), file, false, seams), LIMIT);
  }

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
    auto applied =
        propose([&](wire::Command::Builder command) { command.initOpenSession().initNonce().setLow(nonce); });
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
  bool leads = false;
  std::optional<Error> fatal;  // why it ended
  kj::Promise<void> ended = nullptr;
};

// Proposes makes of numbered names, a few at a time, and remembers which were acknowledged.
class Maker {
 public:
  // Its names begin after number `first`.
  explicit Maker(uint64_t seed, uint64_t first = 0) : random_(seed), first_(first), sequence_(first) {}

  void run(Process& process, SessionId session, unsigned count) {
    World& world = process.world;
    kj::Vector<kj::Promise<void>> going;
    for (unsigned i = 0; i < count; ++i) {
      uint64_t number = ++sequence_;
      auto note = [this, number](Result<Applied> applied) {
        if (applied.ok()) {
          acknowledged_.insert(number);
        }
      };
      kj::Promise<Result<Applied>> made = process.make(session, number, nameOf(number));
      going.add(made.then(kj::mv(note)).eagerlyEvaluate(nullptr));
      if (random_() % 4 == 0) {
        world.runFor(static_cast<Nanos>(random_() % (3 * MILLISECOND)));
      }
    }
    world.runFor(static_cast<Nanos>(random_() % (5 * MILLISECOND)));
  }

  // Everything acknowledged is there; what isn't known may be; nothing else is.
  void check(const NamespaceReader& reader) const {
    for (uint64_t number : acknowledged_) {
      ASSERT_TRUE(reader.lookup(ROOT_INODE, nameOf(number)).ok()) << "acknowledged name " << number << " is gone";
    }
    uint64_t there = 0;
    for (uint64_t number = first_ + 1; number <= sequence_; ++number) {
      there += reader.lookup(ROOT_INODE, nameOf(number)).ok() ? 1 : 0;
    }
    EXPECT_EQ(reader.counters().inodes, there + 1);
  }

  static std::string nameOf(uint64_t number) { return "name" + std::to_string(number); }
  const std::set<uint64_t>& acknowledged() const { return acknowledged_; }
  uint64_t sequence() const { return sequence_; }

 private:
  std::mt19937_64 random_;
  const uint64_t first_;
  uint64_t sequence_;
  std::set<uint64_t> acknowledged_;
};

}  // namespace cairn::replica_test
