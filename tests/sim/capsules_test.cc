// Namespace capsules on chunkservers: whatever becomes of masters, disks and links, any one disk soon holds the names,
// and never others than those that were.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "master/capsule/capsule_shipper.h"
#include "tests/sim/cluster/name_worker.h"
#include "tests/sim/cluster/sim_cluster.h"
#include "tools/recover/capsules.h"

namespace cairn {
namespace {

constexpr Nanos SOON = 10 * SECOND;

SimClusterOptions group() {
  SimClusterOptions options;
  options.masters = 3;
  return options;
}

struct Stage {
  explicit Stage(uint64_t seed) : world(seed), cluster(world, group()) {
    cluster.start();
    cluster.mount("k1");
  }
  void makeNames(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      std::string name = "n" + std::to_string(++names);
      KJ_ASSERT(cluster.wait(cluster.client("k1").makeDirectory(ROOT_INODE, name, 0755, superuser())).ok());
    }
  }
  // Up to which entry a server's disk has the state.
  LogIndex heldBy(const std::string& server) {
    auto disk = world.volume(server).open();
    rescue::Capsules capsules;
    capsules.add(*disk, cluster.clusterFile().cluster);
    auto choice = capsules.choose();
    if (!choice) {
      return LogIndex{};
    }
    LogIndex at = choice->capsule.index;
    auto read = capsules.readTail(*choice, [&](LogIndex index, Term, kj::ArrayPtr<const kj::byte>) {
      EXPECT_EQ(index, next(at)) << "a gap in the log's tail";
      at = index;
      return Status();
    });
    EXPECT_EQ(read.code(), 0) << (read.ok() ? "" : read.error().why);
    EXPECT_EQ(at, choice->end);
    return at;
  }
  // Waits until they have all that had been done by now.
  void waitHeld(const std::vector<std::string>& servers) {
    LogIndex wanted = applied();
    cluster.waitFor("copies of the names", [&] {
      return std::all_of(servers.begin(), servers.end(), [&](auto& server) { return heldBy(server) >= wanted; });
    }, SOON);
  }
  LogIndex applied() { return cluster.appliedAt(cluster.leader()); }

  World world;
  SimCluster cluster;
  unsigned names = 0;
};

TEST(Capsules, EveryDiskHasThemSoon) {
  Stage stage(1);
  stage.makeNames(20);
  stage.waitHeld(stage.cluster.servers());
  stage.makeNames(20);
  stage.waitHeld(stage.cluster.servers());
}

TEST(Capsules, TheNextLeaderGoesOn) {
  for (uint64_t seed = 11; seed <= 13; ++seed) {
    Stage stage(seed);
    stage.makeNames(10);
    stage.waitHeld(stage.cluster.servers());
    for (int round = 0; round < 3; ++round) {
      std::string leader = stage.cluster.leader();
      stage.cluster.powerCut(leader);
      stage.makeNames(10);
      stage.waitHeld(stage.cluster.servers());
      stage.cluster.restart(leader);
      stage.cluster.waitHealthy();
    }
  }
}

TEST(Capsules, WhoWasAwayCatchesUp) {
  Stage stage(21);
  stage.makeNames(10);
  stage.waitHeld(stage.cluster.servers());
  stage.cluster.crash("c2");
  stage.makeNames(50);
  stage.waitHeld({"c1", "c3"});
  stage.cluster.restart("c2");
  stage.waitHeld(stage.cluster.servers());
  stage.cluster.powerCut("c3");
  stage.makeNames(10);
  stage.cluster.restart("c3");
  stage.cluster.waitHealthy();
  stage.waitHeld(stage.cluster.servers());
}

TEST(Capsules, AFullDiskKeepsWhatItHas) {
  Stage stage(31);
  stage.makeNames(10);
  stage.waitHeld(stage.cluster.servers());
  LogIndex before = stage.heldBy("c1");
  stage.world.volume("c1").setCapacity(stage.world.volume("c1").usedBytes());
  stage.makeNames(30);
  stage.waitHeld({"c2", "c3"});
  EXPECT_GE(stage.heldBy("c1"), before);
  stage.world.volume("c1").setCapacity(uint64_t{1} << 40);
  stage.makeNames(1);
  stage.waitHeld(stage.cluster.servers());
}

// One bit anywhere in what a disk holds: it is found out, and what the others have makes up for it.
TEST(Capsules, RotIsFoundAndMadeUpFor) {
  Stage stage(41);
  stage.makeNames(60);
  stage.waitHeld(stage.cluster.servers());
  auto isCapsule = [](const std::string& path) { return path.find(CAPSULE_DIRECTORY) != std::string::npos; };
  ASSERT_FALSE(stage.world.volume("c1").rot(1000, isCapsule).empty());
  rescue::Capsules capsules;
  std::vector<kj::Own<Disk>> disks;
  for (auto& server : stage.cluster.servers()) {
    disks.push_back(stage.world.volume(server).open());
    capsules.add(*disks.back(), stage.cluster.clusterFile().cluster);
  }
  auto choice = capsules.choose();
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->end, std::max(stage.heldBy("c2"), stage.heldBy("c3")));
}

}  // namespace
}  // namespace cairn
