// The replica as a whole, in a simulated world: exactly what was acknowledged is there after any end.
#include "master/replica.h"

#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/vector.h>
#include <sys/stat.h>

#include <cerrno>
#include <random>
#include <optional>
#include <set>

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
        opened(openReplica(
            options, alone(), false,
            {world.clock(), *random, world.network().host(volume), *disk, *workers, *env})) {
    if (opened.ok()) {
      ended = replica().onFatal().then([this](Error error) { fatal = error; }).eagerlyEvaluate(nullptr);
      leads = world.runUntil([this] { return replica().isLeader() || fatal; }, LIMIT) && !fatal;
    }
  }

  static ClusterFile alone() {
    ClusterFile file;
    file.cluster = CLUSTER;
    file.masters = {{"m1", "m1:7000", ""}};
    return file;
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

// ---- power cuts ----

// Proposes makes of numbered names, a few at a time, and remembers which were acknowledged.
class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

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
    for (uint64_t number = 1; number <= sequence_; ++number) {
      there += reader.lookup(ROOT_INODE, nameOf(number)).ok() ? 1 : 0;
    }
    EXPECT_EQ(reader.counters().inodes, there + 1);
  }

  static std::string nameOf(uint64_t number) { return "name" + std::to_string(number); }
  const std::set<uint64_t>& acknowledged() const { return acknowledged_; }
  uint64_t sequence() const { return sequence_; }

 private:
  std::mt19937_64 random_;
  uint64_t sequence_ = 0;
  std::set<uint64_t> acknowledged_;
};

TEST(Replica, PowerCutsLoseNothingAcknowledged) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    Maker maker(seed);
    SessionId session{};
    for (int life = 0; life < 6; ++life) {
      Process process(world);
      ASSERT_TRUE(process.opened.ok()) << process.opened.error().why;
      if (life == 0) {
        process.format();
      }
      maker.check(process.reader());
      session = process.openSession(9);
      maker.run(process, session, 300);
      world.volume("m1").powerCut();
    }
    EXPECT_GT(maker.acknowledged().size(), 100u);
  }
}

TEST(Replica, EqualSeedsGiveEqualWorlds) {
  uint64_t hashes[2];
  for (uint64_t& hash : hashes) {
    World world(77);
    Maker maker(77);
    for (int life = 0; life < 3; ++life) {
      Process process(world);
      ASSERT_TRUE(process.opened.ok());
      if (life == 0) {
        process.format();
      }
      maker.run(process, process.openSession(9), 200);
      world.volume("m1").powerCut();
    }
    hash = world.traceHash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(Replica, ARepeatAfterRestartGetsTheFirstReply) {
  World world(5);
  SessionId session{};
  kj::Array<capnp::word> first;
  {
    Process process(world);
    process.format();
    session = process.openSession(9);
    auto made = world.await(process.make(session, 1, "a"), LIMIT);
    first = kj::heapArray(made.value().reply.asPtr());
  }
  world.volume("m1").powerCut();
  Process again(world);
  auto repeated = world.await(again.make(session, 1, "a"), LIMIT);
  ASSERT_TRUE(repeated.ok());
  EXPECT_TRUE(repeated.value().repeated);
  EXPECT_EQ(repeated.value().reply.asBytes(), first.asBytes());
  EXPECT_EQ(again.openSession(9), session);  // and the session is still the one of that nonce
}

TEST(Replica, AClockThatIsSetBackDoesNotTurnTimeBack) {
  World world(15);
  int64_t before = 0;
  auto modified = [](Process& process) {
    capnp::MallocMessageBuilder message;
    auto out = message.initRoot<wire::Attributes>();
    EXPECT_TRUE(process.reader().attributes(ROOT_INODE, out).ok());
    return out.getModified().getSeconds();
  };
  {
    Process process(world);
    process.format();
    before = modified(process);
    world.clock().stepWall(-3600 * SECOND);
    ASSERT_TRUE(world.await(process.make(process.openSession(9), 1, "a"), LIMIT).ok());
    EXPECT_GE(modified(process), before);
  }
  world.volume("m1").powerCut();
  Process again(world);
  ASSERT_TRUE(world.await(again.make(again.openSession(9), 2, "b"), LIMIT).ok());
  EXPECT_GE(modified(again), before);
}

// ---- snapshots and rebuilding ----

uint64_t usedByLog(Disk& disk) {
  uint64_t segments = 0;
  for (const auto& name : disk.list("log").value()) {
    segments += name.ends_with(".segment") ? 1 : 0;
  }
  return segments;
}

TEST(Replica, SnapshotsKeepTheLogShort) {
  World world(6);
  Maker maker(6);
  uint64_t digest = 0;
  {
    Process process(world);
    process.format();
    auto session = process.openSession(9);
    for (int i = 0; i < 30; ++i) {
      maker.run(process, session, 500);
      world.runFor(SECOND);
    }
    EXPECT_EQ(process.disk->list("snapshots").value().size(), 2u);
    EXPECT_LT(usedByLog(*process.disk), 20u);
    maker.check(process.reader());
    world.await(process.replica().stop(), LIMIT);
    digest = process.reader().digest();
  }
  // LevelDB is gone: the snapshot and the log make the same state again.
  world.volume("m1").processDied();
  {
    auto disk = world.volume("m1").open();
    auto env = world.newEnv();
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("state")).ok());
  }
  Process again(world);
  ASSERT_TRUE(again.opened.ok()) << again.opened.error().why;
  maker.check(again.reader());
  EXPECT_EQ(again.reader().appliedTerm(), Term{2});
  EXPECT_NE(digest, 0u);
}

// Fills a master with more than one snapshot's worth and stops it in good order.
void fill(World& world, Maker& maker) {
  Process process(world);
  ASSERT_TRUE(process.opened.ok());
  process.format();
  auto session = process.openSession(9);
  for (int i = 0; i < 25; ++i) {
    maker.run(process, session, 500);
    world.runFor(SECOND);
  }
  world.await(process.replica().stop(), LIMIT);
}

// Flips bits of the files in a directory, as an ageing disk does.
void damage(World& world, const std::string& directory, unsigned count, std::mt19937_64& random) {
  auto disk = world.volume("m1").open();
  auto names = disk->list(directory).value();
  for (unsigned i = 0; i < count; ++i) {
    auto file = disk->open(directory + "/" + names[random() % names.size()], Disk::Mode::READ_WRITE);
    ASSERT_TRUE(file.ok());
    uint64_t size = file.value()->info().value().sizeBytes;
    if (size > 0) {
      uint64_t at = random() % size;
      kj::byte byte = 0;
      ASSERT_TRUE(file.value()->readNow(at, kj::arrayPtr(&byte, 1)).ok());
      byte ^= static_cast<kj::byte>(1u << random() % 8);
      ASSERT_TRUE(file.value()->write(at, kj::arrayPtr(&byte, 1)).ok());
    }
  }
}

TEST(Replica, ADamagedLevelDbIsMadeAgain) {
  World world(7);
  Maker maker(7);
  fill(world, maker);
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 20; ++trial) {
    world.volume("m1").processDied();
    damage(world, "state", 3, random);
    // Damage is found at the open or at the first read of the block; a restart then rebuilds.
    bool whole = false;
    for (int attempt = 0; attempt < 3 && !whole; ++attempt) {
      Process process(world);
      ASSERT_TRUE(process.opened.ok()) << process.opened.error().why;
      auto failed = kj::runCatchingExceptions([&] { maker.check(process.reader()); });
      whole = failed == nullptr;
      if (!whole) {
        ASSERT_TRUE(world.runUntil([&] { return process.fatal.has_value(); }, LIMIT));
        EXPECT_EQ(process.fatal->code, EIO);
        EXPECT_FALSE(process.replica().isLeader());
      } else {
        world.await(process.replica().stop(), LIMIT);
      }
      world.volume("m1").processDied();
    }
    EXPECT_TRUE(whole);
  }
}

TEST(Replica, ADamagedSnapshotFallsBackToTheOlder) {
  World world(8);
  Maker maker(8);
  fill(world, maker);
  world.volume("m1").processDied();
  auto disk = world.volume("m1").open();
  auto snapshots = disk->list("snapshots").value();
  ASSERT_EQ(snapshots.size(), 2u);
  ASSERT_TRUE(world.volume("m1").rotAt("snapshots/" + snapshots[1], 5000));
  {
    auto env = world.newEnv();
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("state")).ok());
  }
  {
    Process process(world);
    ASSERT_TRUE(process.opened.ok()) << process.opened.error().why;
    maker.check(process.reader());
  }
  // With both damaged there is nothing to make the state from: said, not guessed.
  world.volume("m1").processDied();
  ASSERT_TRUE(world.volume("m1").rotAt("snapshots/" + snapshots[0], 5000));
  {
    auto env = world.newEnv();
    ASSERT_TRUE(Store::remove(*env, disk->hostPath("state")).ok());
  }
  Process process(world);
  ASSERT_FALSE(process.opened.ok());
  EXPECT_NE(process.opened.error().why.find("snapshot"), std::string::npos) << process.opened.error().why;
}

TEST(Replica, AStateAheadOfTheLogIsRefused) {
  World world(9);
  Maker maker(9);
  {
    Process process(world);
    process.format();
    maker.run(process, process.openSession(9), 50);
    world.await(process.replica().stop(), LIMIT);
  }
  world.volume("m1").processDied();
  auto disk = world.volume("m1").open();
  for (const auto& name : disk->list("log").value()) {
    ASSERT_TRUE(disk->remove("log/" + name).ok());
  }
  Process process(world);
  ASSERT_FALSE(process.opened.ok());
  EXPECT_NE(process.opened.error().why.find("acknowledged entries are gone"), std::string::npos);
}

TEST(Replica, TheWrongDirectoryIsRefused) {
  World world(10);
  {
    Process process(world);
    process.format();
    Process second(world);
    EXPECT_EQ(second.opened.code(), EWOULDBLOCK);
  }
  world.volume("m1").processDied();
  auto other = smallOptions();
  other.cluster = ClusterId{1, 1};
  {
    Process process(world, "m1", other);
    EXPECT_EQ(process.opened.code(), EINVAL);
  }
  world.volume("m1").processDied();
  Process process(world);
  EXPECT_TRUE(process.opened.ok());
  EXPECT_TRUE(process.reader().formatted());
}

// ---- failing disks ----

TEST(Replica, EveryFailedAccessLosesNothingAcknowledged) {
  unsigned ended = 0;
  for (uint64_t nth = 1; nth < 400; nth += nth < 150 ? 1 : 7) {
    SCOPED_TRACE("access " + std::to_string(nth));
    World world(11);
    Maker maker(11);
    bool formatted = false;
    world.volume("m1").setTrip({nth, EIO, false});
    {
      kj::Maybe<kj::Own<Process>> process;
      auto failed = kj::runCatchingExceptions([&] { process = kj::heap<Process>(world); });
      KJ_IF_MAYBE (alive, process) {
        if (failed == nullptr && (*alive)->leads) {
          auto applied = (*alive)->propose([](wire::Command::Builder command) {
            toWire(CLUSTER, command.initFormat().initCluster());
            command.getFormat().initClasses(1);
          });
          formatted = applied.ok();
          maker.run(**alive, (*alive)->openSession(9), 100);
          ended += (*alive)->replica().isLeader() ? 0 : 1;
        }
      }
    }
    world.volume("m1").setTrip({});
    world.volume("m1").powerCut();
    Process again(world);
    ASSERT_TRUE(again.opened.ok()) << again.opened.error().why;
    if (formatted) {
      maker.check(again.reader());
    }
  }
  EXPECT_GT(ended, 10u);
}

TEST(Replica, AFullDiskStopsNothingForGood) {
  World world(13);
  Maker maker(13);
  uint64_t before = 0;
  {
    Process process(world);
    process.format();
    auto session = process.openSession(9);
    maker.run(process, session, 100);
    world.runFor(5 * SECOND);
    EXPECT_TRUE(process.disk->exists("reserve"));
    // Somebody else fills the disk.
    world.volume("m1").setCapacity(world.volume("m1").usedBytes());
    before = maker.acknowledged().size();
    for (int i = 0; i < 5; ++i) {
      maker.run(process, session, 100);
      world.runFor(SECOND);
    }
    EXPECT_FALSE(process.disk->exists("reserve"));
    EXPECT_EQ(maker.acknowledged().size(), before + 500);  // what was kept back serves these
    for (int i = 0; i < 100; ++i) {
      maker.run(process, session, 200);
      world.runFor(SECOND);
    }
    EXPECT_LT(maker.acknowledged().size(), maker.sequence());  // now there is no room even for the log
    EXPECT_TRUE(process.replica().isLeader());
    world.volume("m1").setCapacity(1ull << 40);
    maker.run(process, session, 1);  // whose refusal makes the log look for room again
    world.runFor(SECOND);
    before = maker.acknowledged().size();
    maker.run(process, session, 100);
    world.runFor(40 * SECOND);
    EXPECT_EQ(maker.acknowledged().size(), before + 100);
    EXPECT_TRUE(process.disk->exists("reserve"));
    maker.check(process.reader());
  }
  world.volume("m1").powerCut();
  Process again(world);
  ASSERT_TRUE(again.opened.ok()) << again.opened.error().why;
  maker.check(again.reader());
}

TEST(Replica, AFailedSyncIsFatal) {
  World world(12);
  Process process(world);
  process.format();
  auto session = process.openSession(9);
  SimFaults faults;
  faults.syncError = 1'000'000;
  faults.befalls = [](const std::string& path) { return path.starts_with("log/"); };
  world.volume("m1").setFaults(faults);
  EXPECT_EQ(world.await(process.make(session, 1, "a"), LIMIT).code(), EIO);
  ASSERT_TRUE(world.runUntil([&] { return process.fatal.has_value(); }, LIMIT));
  EXPECT_EQ(process.fatal->code, EIO);
  EXPECT_FALSE(process.replica().isLeader());
  EXPECT_EQ(world.await(process.make(session, 2, "b"), LIMIT).code(), EIO);
  EXPECT_FALSE(world.await(process.replica().readBarrier(), LIMIT).ok());
}

}  // namespace
}  // namespace cairn
