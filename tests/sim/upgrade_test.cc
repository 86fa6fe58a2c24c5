// Servers get a newer program one by one, while files are written; the cluster's feature level rises when all have it.
#include <gtest/gtest.h>

#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr uint32_t OLD = wire::FEATURE_LEVEL;
constexpr uint32_t NEW = OLD + 1;

SimClusterOptions threeMasters() {
  SimClusterOptions options;
  options.masters = 3;
  return options;
}

std::vector<std::string> hostsOf(const SimCluster& cluster) {
  std::vector<std::string> hosts = cluster.masters();
  hosts.insert(hosts.end(), cluster.servers().begin(), cluster.servers().end());
  return hosts;
}

void replace(SimCluster& cluster, const std::string& host, uint32_t level) {
  cluster.stop(host);
  cluster.install(host, level);
  cluster.restart(host);
  cluster.waitHealthy();
}

void replaceAll(SimCluster& cluster, uint32_t level) {
  for (const auto& host : hostsOf(cluster)) {
    replace(cluster, host, level);
  }
}

void waitForLevel(SimCluster& cluster, uint32_t level) {
  cluster.waitFor("the level", [&] { return cluster.featureLevel() == level; });
}

TEST(Upgrade, TheLevelRisesWithTheLastServer) {
  World world(1);
  SimCluster cluster(world, threeMasters());
  cluster.start();
  Client& k1 = cluster.mount("k1");
  TestFile file(cluster, k1, "f", 1);
  auto hosts = hostsOf(cluster);
  uint32_t block = 0;
  for (const auto& host : hosts) {
    EXPECT_EQ(cluster.featureLevel(), OLD);
    replace(cluster, host, NEW);
    file.write(block, 3);
    file.sync();
    block += 3;
    if (host != hosts.back()) {
      world.runFor(5 * SECOND);  // a master that looks at some of them only would raise it now
    }
  }
  waitForLevel(cluster, NEW);
  EXPECT_EQ(file.check(k1), "");
}

TEST(Upgrade, IsTakenBackAsLongAsOneHasTheOldProgram) {
  World world(2);
  SimCluster cluster(world, threeMasters());
  cluster.start();
  replace(cluster, "m1", NEW);
  replace(cluster, "c2", NEW);
  world.runFor(5 * SECOND);
  replaceAll(cluster, OLD);
  EXPECT_EQ(cluster.featureLevel(), OLD);
}

// A server that is away counts: it may come back with the old program.
TEST(Upgrade, WaitsForAServerThatIsAway) {
  World world(3);
  SimCluster cluster(world);
  cluster.start();
  cluster.crash("c3");
  for (const char* host : {"m1", "c1", "c2"}) {
    cluster.stop(host);
    cluster.install(host, NEW);
    cluster.restart(host);
  }
  cluster.leader();
  world.runFor(30 * SECOND);
  EXPECT_EQ(cluster.featureLevel(), OLD);
  cluster.install("c3", NEW);
  cluster.restart("c3");
  waitForLevel(cluster, NEW);
}

TEST(Upgrade, AnOldProgramIsRefusedAfterwards) {
  World world(4);
  SimCluster cluster(world, threeMasters());
  cluster.start();
  replaceAll(cluster, NEW);
  waitForLevel(cluster, NEW);
  std::string follower = cluster.mastersBut(cluster.leader()).front();
  for (const auto& host : {follower, std::string("c1")}) {
    cluster.stop(host);
    cluster.install(host, OLD);
    cluster.restart(host);
    world.runFor(10 * SECOND);
    EXPECT_NE(cluster.endOf(host).find("raised to 2"), std::string::npos) << cluster.endOf(host);
    cluster.stop(host);
    cluster.install(host, NEW);
    cluster.restart(host);
    cluster.waitHealthy();
  }
}

}  // namespace
}  // namespace cairn
