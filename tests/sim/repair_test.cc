// Copies that move: made again when a server is lost, spread when one is added, moved away when one is drained; and
// what an old copy is worth that comes back.
#include <gtest/gtest.h>

#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr unsigned SERVERS = 5;
constexpr unsigned COPIES = 3;
constexpr unsigned FILES = 24;
constexpr uint64_t BLOCKS = 20;
constexpr uint32_t DELAY_SECONDS = 2;

SimClusterOptions options(unsigned masters) {
  SimClusterOptions out;
  out.servers = SERVERS;
  out.shardBits = 4;
  out.repairDelaySeconds = DELAY_SECONDS;
  out.masters = masters;
  return out;
}

// A cluster with files in every shard, written and synced.
struct Stage {
  explicit Stage(uint64_t seed, unsigned masters = 1)
      : world(seed), cluster(world, options(masters)), probe(cluster) {
    cluster.start();
    cluster.mount("k1");
    for (unsigned i = 0; i < FILES; ++i) {
      files.push_back(kj::heap<TestFile>(cluster, cluster.client("k1"), "f" + std::to_string(i), i + 1));
      files.back()->write(0, BLOCKS);
      files.back()->sync();
    }
  }

  // All bytes right through a mount that knows nothing, all copies equal.
  void check(const char* when) {
    Client& reader = cluster.mount("r" + std::to_string(++readers));
    for (auto& file : files) {
      EXPECT_EQ(file->check(reader), "") << when << ", seed " << world.seed();
    }
    const ShardMap map = cluster.map();
    for (auto& [id, shard] : map.shards) {
      for (ChunkId chunk : probe.chunksAtPrimary(id)) {
        std::string found = probe.difference(id, chunk);
        for (unsigned i = 0; i < 20 && !found.empty(); ++i) {
          world.runFor(100 * MILLISECOND);
          found = probe.difference(id, chunk);
        }
        EXPECT_EQ(found, "") << when << ", seed " << world.seed();
      }
    }
  }
  size_t joining() {
    size_t count = 0;
    for (auto& [id, shard] : cluster.map().shards) {
      count += shard.joining.size();
    }
    return count;
  }
  wire::ServerState state(const std::string& server) {
    return cluster.map().serverOf(cluster.volumeOf(server))->state;
  }
  void rewrite(uint64_t block) {
    for (auto& file : files) {
      file->write(block, 3);
      file->sync();
    }
  }

  World world;
  SimCluster cluster;
  Probe probe;
  std::vector<kj::Own<TestFile>> files;
  unsigned readers = 0;
};

TEST(Repair, ALostServersCopiesAreMadeAgain) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Stage stage(seed);
    stage.cluster.powerCut("c2");
    Nanos lost = stage.world.clock().monotonic();
    stage.cluster.waitFor("the repair to begin", [&] { return stage.joining() > 0; }, 10 * SECOND);
    Nanos began = stage.world.clock().monotonic() - lost;
    EXPECT_GE(began, DELAY_SECONDS * SECOND);
    stage.rewrite(5);  // meanwhile
    stage.cluster.waitRepaired();
    printf("seed %llu: repair began after %.2f s, ended after %.2f s\n", static_cast<unsigned long long>(seed),
           static_cast<double>(began) / SECOND,
           static_cast<double>(stage.world.clock().monotonic() - lost) / SECOND);
    EXPECT_EQ(stage.cluster.copiesOn("c2"), 0u);
    EXPECT_EQ(stage.state("c2"), wire::ServerState::DEAD);
    stage.check("after a loss");
    // Nothing is left that only the lost one had: two more may go, one after the other.
    stage.cluster.powerCut("c4");
    stage.cluster.waitRepaired();
    stage.check("after a second loss");
  }
}

TEST(Repair, ASecondLossDuringTheRepair) {
  for (uint64_t seed = 4; seed <= 6; ++seed) {
    Stage stage(seed);
    stage.cluster.powerCut("c1");
    stage.cluster.waitFor("the repair to begin", [&] { return stage.joining() > 0; }, 10 * SECOND);
    stage.cluster.powerCut("c3");
    stage.rewrite(2);
    stage.cluster.waitRepaired();
    stage.check("after two losses");
  }
}

TEST(Repair, AMasterIsLostDuringTheRepair) {
  Stage stage(7, 3);
  stage.cluster.powerCut("c1");
  stage.cluster.waitFor("the repair to begin", [&] { return stage.joining() > 0; }, 10 * SECOND);
  stage.cluster.powerCut(stage.cluster.leader());
  stage.rewrite(2);
  stage.cluster.waitRepaired();
  stage.check("after the loss of a master and a chunkserver");
}

TEST(Repair, AReturnedOldCopyServesNothingStale) {
  for (uint64_t seed = 8; seed <= 10; ++seed) {
    Stage stage(seed);
    stage.cluster.crash("c1");
    stage.cluster.waitFor("it to be given up", [&] { return stage.cluster.copiesOn("c1") == 0; });
    stage.cluster.waitRepaired();
    stage.rewrite(7);
    for (unsigned i = 0; i < FILES; i += 3) {
      stage.files[i]->resize(4);
      stage.files[i]->write(10, 2);
      stage.files[i]->sync();
    }
    stage.cluster.restart("c1");
    auto back = [&] { return stage.cluster.copiesOn("c1") > 0 && stage.cluster.isRepaired(); };
    stage.cluster.waitFor("it to hold copies again", back, 120 * SECOND);
    EXPECT_EQ(stage.state("c1"), wire::ServerState::IN_SERVICE);
    stage.check("with an old copy that came back");
    // Now it has to answer where it is the last one.
    stage.cluster.powerCut("c2");
    stage.cluster.waitRepaired();
    stage.cluster.powerCut("c3");
    stage.cluster.waitRepaired();
    stage.check("with the returned one among the last three");
  }
}

TEST(Repair, AnAddedServerGetsItsShare) {
  Stage stage(11);
  std::string added = stage.cluster.addServer();
  auto full = [&] { return stage.cluster.map().servers.size() == SERVERS + 1 && stage.cluster.copiesOn(added) > 0; };
  stage.cluster.waitFor("it to get copies", full);
  unsigned least = COPIES;
  auto done = [&] {
    for (auto& [id, shard] : stage.cluster.map().shards) {
      least = std::min<unsigned>(least, shard.inSync.size());
    }
    return stage.cluster.isRepaired();
  };
  stage.rewrite(3);
  stage.cluster.waitFor("the copies to be moved", done);
  EXPECT_EQ(least, COPIES) << "never fewer on the way";
  EXPECT_NEAR(stage.cluster.copiesOn(added), 16.0 * COPIES / (SERVERS + 1), 1.0);
  stage.check("after a server was added");
}

TEST(Repair, ADrainedServerIsEmptyAndCanBeRemoved) {
  Stage stage(12);
  EXPECT_EQ(stage.probe.changeServer("c9", wire::ServerChange::DRAIN), ENOENT);
  EXPECT_EQ(stage.probe.changeServer("c2", wire::ServerChange::REMOVE), EBUSY) << "it holds data";
  EXPECT_EQ(stage.probe.changeServer("c2", wire::ServerChange::DRAIN), 0);
  for (unsigned i = 0; i < 1000 && stage.state("c2") != wire::ServerState::DRAINED; ++i) {
    stage.files[i % FILES]->write(i % BLOCKS, 1);  // a write that fails would throw
    stage.files[i % FILES]->sync();
    stage.world.runFor(20 * MILLISECOND);
  }
  EXPECT_EQ(stage.state("c2"), wire::ServerState::DRAINED);
  EXPECT_EQ(stage.cluster.copiesOn("c2"), 0u);
  stage.check("after a drain");
  EXPECT_EQ(stage.probe.changeServer("c2", wire::ServerChange::REMOVE), EBUSY) << "it runs";
  stage.cluster.stop("c2");
  auto gone = [&] { return !stage.cluster.map().serverOf(stage.cluster.volumeOf("c2"))->online; };
  stage.cluster.waitFor("it to be gone", gone);
  EXPECT_EQ(stage.probe.changeServer("c2", wire::ServerChange::REMOVE), 0);
  EXPECT_EQ(stage.cluster.map().servers.size(), SERVERS - 1);
  stage.rewrite(1);
  stage.check("after a server was removed");
}

TEST(Repair, AnInterruptedDrainIsTakenBack) {
  Stage stage(13);
  EXPECT_EQ(stage.probe.changeServer("c3", wire::ServerChange::DRAIN), 0);
  stage.cluster.waitFor("the drain to begin", [&] { return stage.joining() > 0; });
  EXPECT_EQ(stage.probe.changeServer("c3", wire::ServerChange::RESUME), 0);
  stage.cluster.waitRepaired();
  EXPECT_EQ(stage.state("c3"), wire::ServerState::IN_SERVICE);
  stage.check("after a drain that was taken back");
}

TEST(Repair, NothingMovesWhenMostAreGoneOrOneIsInMaintenance) {
  Stage stage(14);
  EXPECT_EQ(stage.probe.changeServer("c1", wire::ServerChange::MAINTAIN, 60), 0);
  stage.cluster.crash("c1");
  stage.world.runFor(20 * SECOND);
  EXPECT_EQ(stage.joining(), 0u) << "in maintenance";
  EXPECT_GT(stage.cluster.copiesOn("c1"), 0u);
  stage.cluster.restart("c1");
  stage.cluster.waitHealthy();
  EXPECT_EQ(stage.probe.changeServer("c1", wire::ServerChange::RESUME), 0);
  auto before = stage.cluster.map().shards;
  for (const char* server : {"c1", "c2", "c3"}) {
    stage.cluster.crash(server);
  }
  stage.world.runFor(30 * SECOND);
  for (auto& [id, shard] : stage.cluster.map().shards) {
    EXPECT_EQ(shard.target, before.at(id).target) << "a switch died, not the disks";
  }
  for (const char* server : {"c1", "c2", "c3"}) {
    stage.cluster.restart(server);
  }
  stage.cluster.waitHealthy();
  stage.check("after most were gone");
}

// All that were in sync are lost for good; one that fell out earlier is made to go on, and the loss is what was written
// since.
TEST(Repair, AForcedShardGoesOnFromAnOlderCopy) {
  Stage stage(15);
  Attributes file = stage.files[0]->attributes();
  ShardRecord shard = stage.cluster.shardOf(file, 0);
  std::vector<std::string> members{stage.cluster.primaryOf(shard)};
  for (auto& backup : stage.cluster.backupsOf(shard)) {
    members.push_back(backup);
  }
  EXPECT_EQ(stage.probe.forceShard(shard.id, members[0], true), EINVAL) << "it has all its copies";
  EXPECT_EQ(stage.probe.changeServer(members[2], wire::ServerChange::MAINTAIN, 300), 0);
  stage.cluster.crash(members[2]);
  stage.cluster.waitFor("it to fall out", [&] { return stage.cluster.shardOf(file, 0).inSync.size() == 2; });
  stage.files[0]->write(0, 2);
  stage.files[0]->sync();
  stage.cluster.powerCut(members[0]);
  stage.cluster.powerCut(members[1]);
  stage.cluster.restart(members[2]);
  stage.world.runFor(20 * SECOND);
  EXPECT_FALSE(stage.cluster.shardOf(file, 0).isInSync(stage.cluster.volumeOf(members[2])))
      << "a staler copy never takes over by itself";
  EXPECT_EQ(stage.probe.forceShard(shard.id, members[2], false), 0);
  EXPECT_FALSE(stage.cluster.shardOf(file, 0).isInSync(stage.cluster.volumeOf(members[2]))) << "only a plan";
  EXPECT_EQ(stage.probe.forceShard(shard.id, members[2], true), 0);
  auto served = [&] {
    ProbeRead read = stage.probe.read(members[2], file, 5 * BLOCK_BYTES, BLOCK_BYTES);
    return read.ok() &&
           stage.files[0]->problem(5, kj::arrayPtr(read.bytes.data(), read.bytes.size())).empty();
  };
  stage.cluster.waitFor("what it has to be served", served);
}

// Those who knew more come back, with marks of epochs that the forced copy never saw: nothing of what they have changed
// since may stay.
TEST(Repair, WhoReturnsToAForcedShardGivesUpWhatItKnewMore) {
  for (uint64_t seed = 16; seed <= 18; ++seed) {
    Stage stage(seed);
    Attributes file = stage.files[0]->attributes();
    ShardId id = stage.cluster.shardOf(file, 0).id;
    auto shard = [&] { return stage.cluster.shardOf(file, 0); };
    std::vector<std::string> members{stage.cluster.primaryOf(shard())};
    for (auto& backup : stage.cluster.backupsOf(shard())) {
      members.push_back(backup);
    }
    auto inSync = [&](size_t count) {
      stage.cluster.waitFor("the members to be as they should", [&] { return shard().inSync.size() == count; });
    };
    stage.world.runFor(30 * SECOND);  // no dirty mark is left, for what has one is compared in any case
    EXPECT_EQ(stage.probe.changeServer(members[2], wire::ServerChange::MAINTAIN, 600), 0);
    stage.cluster.crash(members[2]);
    inSync(2);
    stage.files[0]->write(0, 2);  // changed in this epoch, and in no later one
    stage.files[0]->sync();
    EXPECT_EQ(stage.probe.changeServer(members[1], wire::ServerChange::MAINTAIN, 600), 0);
    stage.cluster.crash(members[1]);
    inSync(1);
    stage.cluster.restart(members[1]);
    inSync(2);
    stage.world.runFor(30 * SECOND);
    stage.cluster.powerCut(members[0]);
    stage.cluster.powerCut(members[1]);
    stage.cluster.restart(members[2]);
    stage.world.runFor(5 * SECOND);
    ASSERT_EQ(stage.probe.forceShard(id, members[2], true), 0);
    stage.cluster.restart(members[0]);
    stage.cluster.restart(members[1]);
    inSync(3);
    stage.world.runFor(2 * SECOND);
    for (ChunkId chunk : stage.probe.chunksAtPrimary(id)) {
      EXPECT_EQ(stage.probe.difference(id, chunk), "") << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace cairn
