// Three masters: whatever becomes of the one that leads, what was acknowledged is there, nothing is done twice, no
// read is stale, and the stall is short.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "tests/sim/cluster/name_worker.h"
#include "tests/sim/cluster/probe.h"

namespace cairn {
namespace {

// From the leader's end to the next acknowledged change.
constexpr Nanos STALL_MAX = SECOND;
constexpr Nanos STALL = 5 * SECOND;  // of a disk

SimClusterOptions group() {
  SimClusterOptions options;
  options.masters = 3;
  return options;
}

enum class Blow { CRASH, POWER_CUT, CUT_OFF, RESET, STOP, STALL, ALL_LOSE_POWER };
constexpr Blow BLOWS[] = {Blow::CRASH, Blow::POWER_CUT, Blow::CUT_OFF,       Blow::RESET,
                          Blow::STOP,  Blow::STALL,     Blow::ALL_LOSE_POWER};
constexpr const char* BLOW_NAMES[] = {"crash", "power cut", "isolation", "isolation that is noticed at once",
                                      "orderly stop", "disk that stands still", "power cut of all masters"};

void strike(SimCluster& cluster, const std::string& leader, Blow blow) {
  switch (blow) {
    case Blow::CRASH:
      cluster.crash(leader);
      break;
    case Blow::POWER_CUT:
      cluster.powerCut(leader);
      break;
    case Blow::CUT_OFF:
      cluster.network().isolate(leader);
      break;
    case Blow::RESET:
      cluster.network().isolate(leader);
      cluster.network().reset("k1", leader);
      break;
    case Blow::STOP:
      cluster.stop(leader);
      break;
    case Blow::STALL:
      cluster.world().volume(leader).stallUntil(cluster.world().clock().monotonic() + STALL);
      break;
    case Blow::ALL_LOSE_POWER:
      for (auto& master : cluster.masters()) {
        cluster.powerCut(master);
      }
      break;
  }
}

void mend(SimCluster& cluster) {
  cluster.network().healAll();
  for (auto& master : cluster.masters()) {
    if (!cluster.isUp(master)) {
      cluster.restart(master);
    }
  }
}

TEST(Failover, AcknowledgedNamesArePresent) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    World world(seed);
    SimCluster cluster(world, group());
    cluster.start();
    Client& k1 = cluster.mount("k1");
    Client& k2 = cluster.mount("k2");
    NameModel model;
    NameWorker worker(k1, model);
    auto working = worker.run().promise();
    for (Blow blow : BLOWS) {
      unsigned before = worker.done;
      cluster.waitFor("names to be made", [&] { return worker.done >= before + 20; });
      world.runFor(seed * 137 * MICROSECOND);
      strike(cluster, cluster.leader(), blow);
      if (blow == Blow::ALL_LOSE_POWER) {
        mend(cluster);
      }
      before = worker.done;
      Nanos began = world.clock().monotonic();
      cluster.waitFor("names to be made again", [&] { return worker.done >= before + 2; });
      // A disk that stands still alone deposes nobody.
      Nanos limit = blow == Blow::STALL ? STALL + STALL_MAX : STALL_MAX;
      Nanos stall = world.clock().monotonic() - began;
      printf("seed %d: %s, and a stall of %d ms\n", static_cast<int>(seed), BLOW_NAMES[static_cast<int>(blow)],
             static_cast<int>(stall / MILLISECOND));
      EXPECT_LT(stall, limit) << BLOW_NAMES[static_cast<int>(blow)] << ", seed " << seed;
      mend(cluster);
      cluster.waitHealthy();
    }
    worker.stopping = true;
    world.await(kj::mv(working), SimCluster::LIMIT);
    EXPECT_EQ(model.observe(cluster.wait(NameWorker::listing(k2))), "") << "acknowledged names, seed " << seed;
    cluster.waitFor("the masters to agree", [&] { return cluster.mastersAgree(); });
  }
}

// The change is made, the answer is lost, and with it the master: its successor must know that it was made.
TEST(Failover, ARetryAtTheNextLeaderIsNotDoneTwice) {
  World world(11);
  SimCluster cluster(world, group());
  cluster.start();
  Client& k1 = cluster.mount("k1");
  std::string leader = cluster.leader();
  cluster.network().partitionOneWay(leader, "k1");
  auto making = k1.makeDirectory(ROOT_INODE, "d", 0755, superuser()).promise();
  Client& k2 = cluster.mount("k2");
  auto isMade = [&] { return cluster.wait(k2.lookup(ROOT_INODE, "d", superuser())).ok(); };
  for (unsigned i = 0; i < 100 && !isMade(); ++i) {
    world.runFor(10 * MILLISECOND);
  }
  ASSERT_TRUE(isMade());
  cluster.powerCut(leader);
  auto made = world.await(kj::mv(making), SimCluster::LIMIT);
  EXPECT_EQ(made.code(), 0) << "a retry was done once more";
  EXPECT_EQ(cluster.wait(NameWorker::listing(k2)).size(), 1u);
}

// A leader that the others have left doesn't know it; a client that only reaches this one must not be told old things.
TEST(Failover, ADeposedLeaderServesNoStaleRead) {
  for (uint64_t seed = 21; seed <= 28; ++seed) {
    World world(seed);
    SimCluster cluster(world, group());
    cluster.start();
    Client& k1 = cluster.mount("k1");
    Client& k2 = cluster.mount("k2");
    auto made = cluster.wait(k1.makeDirectory(ROOT_INODE, "d", 0755, superuser()));
    InodeId directory = made.value().inode;
    std::string old = cluster.leader();
    for (auto& other : cluster.mastersBut(old)) {
      cluster.network().partition(old, other);
      cluster.network().partition("k1", other);
    }
    cluster.network().partition("k2", old);
    cluster.network().reset("k2", old);
    auto change = k2.makeNode(directory, "new", 0100644, 0, superuser()).promise();
    bool changed = false;
    auto changing = change.then([&](Result<Attributes>) { changed = true; }).eagerlyEvaluate(nullptr);
    // Questions one after another; what was asked after the change must show it, whenever it is answered.
    unsigned askedAfter = 0;
    while (askedAfter < 20) {
      bool after = changed;
      askedAfter += after ? 1 : 0;
      ASSERT_LT(world.clock().monotonic(), 60 * SECOND) << "the others don't go on";
      bool answered = false;
      auto reading = NameWorker::listing(k1, directory).promise();
      auto seen = reading.then([&](NameModel::Listing names) {
        answered = true;
        EXPECT_TRUE(!after || names.count("new") == 1) << "a deposed leader served a stale read, seed " << seed;
      }).eagerlyEvaluate(nullptr);
      (void)world.runUntil([&] { return answered; }, 10 * MILLISECOND);
    }
    cluster.network().healAll();
    EXPECT_EQ(cluster.wait(NameWorker::listing(k1, directory)).size(), 1u);
  }
}

TEST(Failover, AnOpenFileWithoutANameSurvives) {
  World world(31);
  SimCluster cluster(world, group());
  cluster.start();
  Client& k1 = cluster.mount("k1");
  TestFile file(cluster, k1, "f", 1);
  file.write(0, 40);
  file.sync();
  ASSERT_TRUE(cluster.wait(k1.unlink(ROOT_INODE, "f", superuser())).ok());
  for (int round = 0; round < 3; ++round) {
    std::string leader = cluster.leader();
    cluster.powerCut(leader);
    file.write(static_cast<uint64_t>(round) * 50, 60);
    file.sync();
    EXPECT_EQ(file.check(k1), "") << "round " << round;
    cluster.restart(leader);
    cluster.waitHealthy();
    world.runFor(10 * SECOND);  // longer than any clean-up waits
    EXPECT_EQ(file.check(k1), "") << "round " << round;
  }
}

// A chunkserver dies just before or after the leader: the next one must see it, and place its shards anew.
TEST(Failover, ChunkserversAreWatchedByTheNextLeader) {
  for (uint64_t seed = 41; seed <= 43; ++seed) {
    World world(seed);
    SimCluster cluster(world, group());
    cluster.start();
    Client& k1 = cluster.mount("k1");
    TestFile file(cluster, k1, "f", 1);
    file.write(0, 40);
    file.sync();
    ShardRecord shard = cluster.shardOf(file.attributes(), 0);
    std::string primary = cluster.primaryOf(shard);
    std::string leader = cluster.leader();
    seed % 2 == 0 ? cluster.powerCut(leader) : cluster.network().isolate(leader);
    world.runFor(seed % 3 * 100 * MILLISECOND);
    cluster.powerCut(primary);
    Nanos began = world.clock().monotonic();
    file.write(0, 60);
    file.sync();
    EXPECT_LT(world.clock().monotonic() - began, 6 * SECOND) << "seed " << seed;
    cluster.network().healAll();
    mend(cluster);
    cluster.restart(primary);
    cluster.waitHealthy();
    Client& k2 = cluster.mount("k2");
    EXPECT_EQ(file.check(k2), "") << "seed " << seed;
  }
}

TEST(Failover, APowerCutOfEverythingLosesNothingSynced) {
  for (uint64_t seed = 51; seed <= 53; ++seed) {
    World world(seed);
    SimCluster cluster(world, group());
    cluster.start();
    Client& k1 = cluster.mount("k1");
    TestFile file(cluster, k1, "f", 1);
    file.write(0, 100);
    file.sync();
    file.writeThrough(10, 20);
    cluster.kill("k1");
    for (auto& hosts : {cluster.servers(), cluster.masters()}) {
      for (auto& host : hosts) {
        cluster.powerCut(host);
      }
    }
    for (auto& hosts : {cluster.masters(), cluster.servers()}) {
      for (auto& host : hosts) {
        cluster.restart(host);
      }
    }
    cluster.waitHealthy();
    Client& k2 = cluster.mount("k2");
    EXPECT_EQ(file.check(k2), "") << "fsynced bytes, seed " << seed;
  }
}

}  // namespace
}  // namespace cairn
