// The replica as a whole, in a simulated world: exactly what was acknowledged is there after any end.
#include "master/replica.h"

#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/vector.h>
#include <sys/stat.h>

#include <cerrno>
#include <random>
#include <set>

#include "tests/unit/master/replica_process.h"

namespace cairn::replica_test {
namespace {

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
}  // namespace cairn::replica_test
