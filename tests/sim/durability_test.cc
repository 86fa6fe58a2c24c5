// What was promised durable survives: data, names, and the honesty of fsync across restarts of servers.
#include <gtest/gtest.h>

#include "tests/sim/cluster/names.h"
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

// One operation after another, each answered or not when the power fails.
class NameWorker {
 public:
  NameWorker(Client& client, NameModel& model) : client_(client), model_(model) {}

  Task<void> run() {
    for (unsigned i = 0; !stopping; ++i) {
      std::string name = "n" + std::to_string(i);
      auto made = co_await client_.makeNode(ROOT_INODE, name, 0100644, 0, superuser());
      model_.created(name, made.ok() ? raw(made.value().inode) : 0, endOf(made.code()));
      if (i % 3 == 1) {
        auto renamed = co_await client_.rename(ROOT_INODE, name, ROOT_INODE, "r" + name, 0, superuser());
        model_.renamed(name, "r" + name, endOf(renamed.code()));
      }
      if (i % 3 == 2) {
        auto removed = co_await client_.unlink(ROOT_INODE, name, superuser());
        model_.removed(name, endOf(removed.code()));
      }
      ++done;
    }
  }

  bool stopping = false;
  unsigned done = 0;

 private:
  static NameModel::End endOf(int code) {
    return code == 0 ? NameModel::End::DONE : code == EIO ? NameModel::End::UNKNOWN : NameModel::End::REFUSED;
  }
  Client& client_;
  NameModel& model_;
};

Task<NameModel::Listing> listing(Client& client) {
  NameModel::Listing out;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    auto page = co_await client.readDirectory(ROOT_INODE, cookie, 100, false, superuser());
    for (auto& entry : page.value().entries) {
      out[entry.name] = raw(entry.inode);
      cookie = entry.next;
    }
    end = page.value().end;
  }
  co_return kj::mv(out);
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
    EXPECT_EQ(model.observe(cluster.wait(listing(k2))), "") << "acknowledged names, seed " << seed;
  }
}

TEST(Durability, FsyncAfterAServersRestartHasTheDataOrFails) {
  World world(7);
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
  EXPECT_TRUE(!synced.ok() || k1.stats().bytesResent > 0) << "nothing was lost, so nothing was shown";
  Client& k2 = cluster.mount("k2");
  EXPECT_EQ(file.check(k2), "") << "after an fsync that answered " << synced.code();
}

TEST(Durability, ThreeCopiesTornInOneBlockAdoptOneVersion) {
  uint64_t adopted = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
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
