// The whole path, in good weather: one mount writes, another reads.
#include <gtest/gtest.h>

#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

TEST(Cluster, OneMountWritesAnotherReads) {
  World world(1);
  SimCluster cluster(world);
  cluster.start();
  Client& k1 = cluster.mount("k1");
  Client& k2 = cluster.mount("k2");
  TestFile small(cluster, k1, "small", 1);
  TestFile large(cluster, k1, "large", 2);
  small.write(0, 3);
  small.sync();
  large.write(1000, 100);
  large.write(0, 40);
  large.sync();
  EXPECT_EQ(small.check(k2), "");
  EXPECT_EQ(large.check(k2), "");
  Attributes file = small.attributes();
  const ShardRecord& shard = cluster.shardOf(file, 0);
  Probe probe(cluster);
  EXPECT_EQ(probe.difference(shard.id, ChunkId{file.layout.object, 0}), "");
  world.runFor(50 * MILLISECOND);  // until then a backup may not know that the write is complete
  for (auto& server : cluster.servers()) {
    ProbeRead read = probe.read(server, file, 0, BLOCK_BYTES);
    ASSERT_TRUE(read.ok()) << server << ": " << read.why;
    EXPECT_EQ(small.problem(0, kj::arrayPtr(read.bytes.data(), read.bytes.size())), "");
  }
  EXPECT_TRUE(cluster.unmount("k1").ok());
  EXPECT_TRUE(cluster.unmount("k2").ok());
}

TEST(Cluster, SurvivesAnOrderlyStopOfEverything) {
  World world(2);
  SimCluster cluster(world);
  cluster.start();
  Client& k1 = cluster.mount("k1");
  TestFile file(cluster, k1, "f", 1);
  file.write(0, 70);
  file.sync();
  for (auto& server : cluster.servers()) {
    cluster.stop(server);
  }
  cluster.stop("m1");
  cluster.restart("m1");
  for (auto& server : cluster.servers()) {
    cluster.restart(server);
  }
  cluster.waitHealthy();
  EXPECT_EQ(file.check(k1), "");
}

}  // namespace
}  // namespace cairn
