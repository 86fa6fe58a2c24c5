// Failure domains above the server: directories whose copies are in different racks, and what the loss of a rack does.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr unsigned FILES = 12;
constexpr uint64_t BLOCKS = 20;
constexpr uint8_t COPIES = 3;

SimClusterOptions options(unsigned racks, unsigned masters) {
  SimClusterOptions out;
  out.servers = 2 * racks;
  out.racks = racks;
  out.masters = masters;
  out.shardBits = 4;
  out.repairDelaySeconds = 2;
  return out;
}

// Two servers a rack; files in a directory whose copies are in different ones.
struct Racks {
  explicit Racks(uint64_t seed, unsigned racks, unsigned masters = 1)
      : world(seed), cluster(world, options(racks, masters)), probe(cluster) {
    cluster.start();
    Client& client = cluster.mount("k1");
    directory = makeDirectory(client, "books");
    EXPECT_EQ(probe.setReplicas("/books", COPIES, wire::FailureDomain::RACK), 0);
    for (unsigned i = 0; i < FILES; ++i) {
      files.push_back(kj::heap<TestFile>(cluster, client, "f" + std::to_string(i), i + 1, directory));
      files.back()->write(0, BLOCKS);
      files.back()->sync();
    }
    cls = files.front()->attributes().layout.cls;
  }

  InodeId makeDirectory(Client& client, const char* name) {
    auto made = cluster.wait(client.makeDirectory(ROOT_INODE, name, 0755, superuser()));
    KJ_REQUIRE(made.ok(), made.error().why);
    return made.value().inode;
  }
  std::vector<std::string> serversOf(unsigned rack) {
    return {"c" + std::to_string(rack), "c" + std::to_string(rack + options(racks(), 1).racks)};
  }
  unsigned racks() const { return static_cast<unsigned>(cluster.servers().size() / 2); }
  void lose(unsigned rack) {
    for (auto& server : serversOf(rack)) {
      cluster.powerCut(server);
    }
  }
  // Every shard of the directory's class has so many copies in sync on servers that are up, no two in one rack.
  bool apart(size_t copies) {
    const ShardMap map = cluster.map();
    return std::all_of(map.shards.begin(), map.shards.end(), [&](auto& item) {
      std::set<std::string> used;
      size_t live = 0;
      for (VolumeNumber volume : item.second.inSync) {
        const ServerRecord* server = map.serverOf(volume);
        live += cluster.isUp(server->name);
        used.insert(server->rack);
      }
      return shardClass(item.first) != cls || (live == copies && used.size() == item.second.inSync.size());
    });
  }
  void rewrite() {
    for (auto& file : files) {
      file->write(world.seed() % BLOCKS, 1);
      file->sync();
    }
  }
  void check(const char* when) {
    Client& reader = cluster.mount("r" + std::to_string(++readers));
    for (auto& file : files) {
      EXPECT_EQ(file->check(reader), "") << when << ", seed " << world.seed();
    }
  }

  World world;
  SimCluster cluster;
  Probe probe;
  InodeId directory{};
  ClassId cls{};
  std::vector<kj::Own<TestFile>> files;
  unsigned readers = 0;
};

TEST(Domains, ALostRackCostsOneCopyAndIsMadeUpForElsewhere) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Racks stage(seed, 4, seed == 3 ? 3 : 1);
    EXPECT_NE(stage.cls, ClassId{0});
    EXPECT_TRUE(stage.apart(COPIES)) << "seed " << seed;
    stage.lose(2);
    stage.rewrite();
    stage.check("just after the loss of a rack");
    stage.cluster.waitRepaired();
    EXPECT_TRUE(stage.apart(COPIES)) << "seed " << seed;
    stage.check("after the repair");
    // Now only two racks are left: a copy less, never two in one rack, and all goes on.
    stage.lose(3);
    stage.cluster.waitFor("the loss to be seen", [&] { return stage.apart(2); });
    stage.world.runFor(20 * SECOND);
    stage.rewrite();
    EXPECT_TRUE(stage.apart(2)) << "seed " << seed;
    stage.check("with two racks left");
    for (auto& server : stage.serversOf(3)) {
      stage.cluster.restart(server);
    }
    stage.cluster.waitFor("three racks to have them", [&] { return stage.apart(COPIES); }, 120 * SECOND);
    stage.check("with a rack back");
  }
}

TEST(Domains, WhatIsSetIsForWhatIsMadeFromThenOn) {
  Racks stage(4, 3);
  EXPECT_TRUE(stage.apart(COPIES));
  EXPECT_EQ(stage.probe.setReplicas("/books", 4, wire::FailureDomain::RACK), EINVAL) << "there are three racks";
  EXPECT_EQ(stage.probe.setReplicas("/none", 2, wire::FailureDomain::RACK), ENOENT);
  EXPECT_EQ(stage.probe.setReplicas("/books/f1", 2, wire::FailureDomain::RACK), EINVAL) << "a file's bytes stay";
  EXPECT_EQ(stage.cluster.map().classes.size(), 2u) << "nothing is made for what is refused";
  // What was made before stays where it is; what is made now goes elsewhere.
  EXPECT_EQ(stage.probe.setReplicas("/books", 2, wire::FailureDomain::SERVER), 0);
  TestFile later(stage.cluster, stage.cluster.client("k1"), "later", 99, stage.directory);
  EXPECT_EQ(later.attributes().layout.cls, ClassId{2});
  EXPECT_EQ(stage.files.front()->attributes().layout.cls, stage.cls);
  EXPECT_EQ(stage.probe.setReplicas("/books", COPIES, wire::FailureDomain::RACK), 0);
  EXPECT_EQ(stage.cluster.map().classes.size(), 3u) << "the class is there already";
  stage.check("after changes");
}

}  // namespace
}  // namespace cairn
