// What was promised durable survives: data, names, and the honesty of fsync across restarts of servers.
#include <gtest/gtest.h>

#include "tests/sim/cluster/name_worker.h"
#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr uint64_t SMALL_BLOCKS = 3;    // lives inside the index
constexpr uint64_t LARGE_BLOCKS = 200;  // a file of its own

void cutAllServers(SimCluster& cluster) {
  for (auto& server : cluster.servers()) {
    cluster.powerCut(server);
  }
}

void restartAllServers(SimCluster& cluster) {
  for (auto& server : cluster.servers()) {
    cluster.restart(server);
  }
}

// Waits until every in-sync member serves reads of the file's first chunk.
void waitServed(SimCluster& cluster, Probe& probe, const Attributes& file) {
  auto served = [&] {
    ShardRecord shard = cluster.shardOf(file, 0);
    for (VolumeNumber volume : shard.inSync) {
      if (!probe.read(cluster.hostOf(volume), file, 0, BLOCK_BYTES).ok()) {
        return false;
      }
    }
    return true;
  };
  for (unsigned i = 0; i < 1000 && !served(); ++i) {
    cluster.world().runFor(10 * MILLISECOND);
  }
  ASSERT_TRUE(served());
}

TEST(Durability, FsyncedBytesAreReadable) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    World world(seed);
    SimCluster cluster(world);
    cluster.start();
    Client& k1 = cluster.mount("k1");
    TestFile small(cluster, k1, "small", 1);
    TestFile large(cluster, k1, "large", 2);
    small.write(0, SMALL_BLOCKS);
    large.write(0, LARGE_BLOCKS);
    small.sync();
    large.sync();
    large.writeThrough(10, 20);  // not synced: may survive in part
    cutAllServers(cluster);
    cluster.powerCut("m1");
    cluster.kill("k1");
    cluster.restart("m1");
    restartAllServers(cluster);
    cluster.waitHealthy();
    Client& k2 = cluster.mount("k2");
    EXPECT_EQ(small.check(k2), "") << "fsynced bytes, seed " << seed;
    EXPECT_EQ(large.check(k2), "") << "fsynced bytes, seed " << seed;
  }
}

TEST(Durability, AcknowledgedNamesArePresent) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    World world(seed);
    SimCluster cluster(world);
    cluster.start();
    Client& k1 = cluster.mount("k1");
    Client& k2 = cluster.mount("k2");
    NameModel model;
    NameWorker worker(k1, model);
    auto working = worker.run().promise();
    for (unsigned cut = 0; cut < 4; ++cut) {
      unsigned before = worker.done;
      cluster.waitFor("names to be made", [&] { return worker.done >= before + 20; });
      world.runFor(cut * 137 * MICROSECOND);
      cluster.powerCut("m1");
      cluster.restart("m1");
    }
    worker.stopping = true;
    world.await(kj::mv(working), SimCluster::LIMIT);
    EXPECT_EQ(model.observe(cluster.wait(NameWorker::listing(k2))), "") << "acknowledged names, seed " << seed;
  }
}

TEST(Durability, FsyncAfterAServersRestartHasTheDataOrFails) {
  unsigned shown = 0;
  for (uint64_t seed = 7; seed <= 10; ++seed) {
    World world(seed);
    SimCluster cluster(world);
    cluster.start();
    Client& k1 = cluster.mount("k1");
    TestFile file(cluster, k1, "f", 1);
    file.write(0, LARGE_BLOCKS);
    file.sync();
    file.writeThrough(0, LARGE_BLOCKS);  // acknowledged by all three, synced by none
    cutAllServers(cluster);
    restartAllServers(cluster);
    cluster.waitHealthy();
    Status synced = cluster.wait(file.syncing());
    if (synced.ok()) {
      // Then it is there, whatever happens now.
      cutAllServers(cluster);
      restartAllServers(cluster);
      cluster.waitHealthy();
    }
    shown += !synced.ok() || k1.stats().bytesResent > 0 ? 1 : 0;
    Client& k2 = cluster.mount("k2");
    EXPECT_EQ(file.check(k2), "") << "after an fsync that answered " << synced.code() << ", seed " << seed;
  }
  EXPECT_GT(shown, 0u) << "nothing was lost, so nothing was shown";
}

TEST(Durability, ThreeCopiesTornInOneBlockAdoptOneVersion) {
  uint64_t adopted = 0;
  // Whether a block is torn everywhere is chance.
  for (uint64_t seed = 1; seed <= 3 || (adopted == 0 && seed <= 20); ++seed) {
    World world(seed);
    SimCluster cluster(world);
    cluster.start();
    Client& k1 = cluster.mount("k1");
    TestFile file(cluster, k1, "f", 1);
    file.write(0, LARGE_BLOCKS);
    file.sync();
    file.writeThrough(0, LARGE_BLOCKS);
    Attributes attributes = file.attributes();
    cluster.kill("k1");  // it must not send again what was lost
    cutAllServers(cluster);
    restartAllServers(cluster);
    cluster.waitHealthy();
    Probe probe(cluster);
    waitServed(cluster, probe, attributes);
    Client& k2 = cluster.mount("k2");
    EXPECT_EQ(file.check(k2), "") << "torn copies, seed " << seed;
    ChunkId chunk{attributes.layout.object, 0};
    EXPECT_EQ(probe.difference(cluster.shardOf(attributes, 0).id, chunk), "") << "torn copies, seed " << seed;
    world.runFor(SECOND);  // heartbeats bring the counters to the master
    adopted += probe.adoptedBlocks();
  }
  EXPECT_GT(adopted, 0u) << "no block was torn on all three copies: the rule wasn't put to the test";
}

}  // namespace
}  // namespace cairn
