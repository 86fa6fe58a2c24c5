// What is deleted goes into the trash.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/sim/cluster/sim_cluster.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

// A client that is there as soon as the master is, and deletes at once.
TEST(Trash, KeepsFromTheFirstMomentOn) {
  World world(1);
  SimClusterOptions options;
  options.trashSeconds = 3600;
  SimCluster cluster(world, options);
  cluster.restart("m1");  // its first life, with no chunkserver yet
  Client& k1 = cluster.mount("k1");
  ASSERT_TRUE(cluster.wait(k1.makeNode(ROOT_INODE, "f", S_IFREG | 0644, 0, superuser())).ok());
  ASSERT_TRUE(cluster.wait(k1.unlink(ROOT_INODE, "f", superuser())).ok());
  EXPECT_EQ(cluster.trashItems(), 1u);
}

}  // namespace
}  // namespace cairn
