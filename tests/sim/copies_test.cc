// Files that are copied into another replication class while they are in use: what was promised of their bytes holds
// on the way and afterwards, and nothing stays behind.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <cstdlib>

#include "tests/sim/cluster/chaos_client.h"
#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/weather.h"

namespace cairn {
namespace {

constexpr uint64_t CHUNK_BLOCKS = (uint64_t{1} << DEFAULT_CHUNK_BITS) / BLOCK_BYTES;
// From the copy to the end of the old object's chunks (master/cleanup.h).
constexpr Nanos LEFT_LIMIT = 200 * SECOND;
constexpr Nanos COPY_LIMIT = 120 * SECOND;

uint8_t copiesOf(SimCluster& cluster, const Attributes& file) {
  return cluster.map().classes.at(file.layout.cls).copies;
}

bool anyChunkOf(SimCluster& cluster, Probe& probe, ObjectId object) {
  const ShardMap map = cluster.map();
  for (auto& [id, shard] : map.shards) {
    for (ChunkId chunk : probe.chunksAtPrimary(id)) {
      if (chunk.object == object) {
        return true;
      }
    }
  }
  return false;
}

// A cluster with a file of two chunks and a hole, synced in part.
struct Stage {
  explicit Stage(uint64_t seed, unsigned masters = 1) : world(seed), cluster(world, options(masters)), probe(cluster) {
    cluster.start();
    cluster.mount("k1");
    file = kj::heap<TestFile>(cluster, k1(), "f", 1);
    file->write(0, 20);
    file->write(CHUNK_BLOCKS - 4, 8);
    file->sync();
  }
  static SimClusterOptions options(unsigned masters) {
    SimClusterOptions out;
    out.masters = masters;
    return out;
  }
  Client& k1() { return cluster.client("k1"); }
  // As somebody sees it who knows nothing of it yet.
  Attributes now() {
    Client& client = cluster.mount("look" + std::to_string(++looks));
    return cluster.wait(client.attributes(file->inode())).value();
  }
  // Asks until it is accepted.
  void set(uint8_t copies) {
    for (int code = EIO; code != 0;) {
      code = cluster.wait(probe.copying("/", copies));
      world.runFor(100 * MILLISECOND);
    }
  }
  void waitDone() {
    cluster.waitFor("a task's end", [this] { return !cluster.leaderNow().empty(); });
    for (Nanos end = world.clock().monotonic() + COPY_LIMIT; probe.copyTasks() > 0;) {
      KJ_REQUIRE(world.clock().monotonic() < end, "the task doesn't end");
      world.runFor(100 * MILLISECOND);
    }
  }

  World world;
  SimCluster cluster;
  Probe probe;
  kj::Own<TestFile> file;
  unsigned looks = 0;
};

TEST(Copies, AFileGoesIntoAnotherClassAndBack) {
  Stage stage(1);
  Client& k2 = stage.cluster.mount("k2");
  ObjectId before = stage.file->attributes().layout.object;
  EXPECT_EQ(stage.file->check(k2), "");
  stage.set(2);
  stage.waitDone();
  Attributes now = stage.now();
  EXPECT_EQ(copiesOf(stage.cluster, now), 2);
  EXPECT_NE(now.layout.object, before);
  EXPECT_EQ(now.layout.movedFrom, before);
  EXPECT_EQ(stage.file->check(stage.k1()), "");
  EXPECT_EQ(stage.file->check(k2), "");
  stage.file->write(4, 3);
  stage.file->sync();
  EXPECT_EQ(stage.file->check(k2), "") << "what was written after it was copied";
  EXPECT_TRUE(anyChunkOf(stage.cluster, stage.probe, before)) << "its readers may not know yet";
  stage.cluster.waitFor("the old object's end", [&] { return stage.cluster.map().sealed.empty(); }, LEFT_LIMIT);
  EXPECT_FALSE(anyChunkOf(stage.cluster, stage.probe, before));
  EXPECT_TRUE(anyChunkOf(stage.cluster, stage.probe, now.layout.object));
  stage.set(3);
  stage.waitDone();
  EXPECT_EQ(copiesOf(stage.cluster, stage.now()), 3);
  EXPECT_EQ(stage.file->check(k2), "");
  EXPECT_EQ(stage.file->check(stage.k1()), "");
}

// What was acknowledged and not synced, and sizes that nobody was told of yet, come along.
TEST(Copies, WritersGoOnMeanwhile) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Stage stage(seed);
    Client& k2 = stage.cluster.mount("k2");
    stage.set(2);
    uint64_t block = 30;
    while (stage.probe.copyTasks() > 0) {
      stage.file->writeThrough(block, 2);
      block += seed % 2 == 0 ? 3 : CHUNK_BLOCKS / 8;
      stage.world.runFor(20 * MILLISECOND);
    }
    EXPECT_EQ(copiesOf(stage.cluster, stage.now()), 2);
    EXPECT_EQ(stage.file->check(stage.k1()), "") << "seed " << seed;
    EXPECT_EQ(stage.file->check(k2), "") << "seed " << seed;
    stage.file->sync();
    for (auto& server : stage.cluster.servers()) {
      stage.cluster.powerCut(server);
    }
    for (auto& server : stage.cluster.servers()) {
      stage.cluster.restart(server);
    }
    stage.cluster.waitHealthy();
    EXPECT_EQ(stage.file->check(k2), "") << "after a power cut, seed " << seed;
  }
}

// Whoever wrote it can't tell the master before the copy is the file's.
TEST(Copies, WhatNoSizeTellsOfComesAlong) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Stage stage(seed);
    Client& k2 = stage.cluster.mount("k2");
    ASSERT_EQ(stage.cluster.wait(stage.probe.copying("/", 2)), 0);
    stage.cluster.network().partition("k1", "m1");
    stage.file->writeThrough(3 * CHUNK_BLOCKS, 2);
    stage.waitDone();
    stage.cluster.network().heal("k1", "m1");
    stage.file->sync();
    EXPECT_EQ(copiesOf(stage.cluster, stage.now()), 2);
    EXPECT_EQ(stage.file->check(stage.k1()), "") << "seed " << seed;
    EXPECT_EQ(stage.file->check(k2), "") << "seed " << seed;
  }
}

// ---- random work in random weather ----------------------------------------------------------------

constexpr uint64_t GROUP = uint64_t{1} << 42;
constexpr unsigned SEEDS = 9;
constexpr unsigned SEEDS_FULL = 400;
constexpr const char* MOUNTS[] = {"k1", "k2"};
constexpr unsigned WORKERS_PER_MOUNT = 2;
constexpr Nanos STORM = 25 * SECOND;
constexpr Nanos CALM_WORK = 5 * SECOND;
constexpr Nanos RECOVERY_LIMIT = 60 * SECOND;

class CopyStorm {
 public:
  explicit CopyStorm(uint64_t seed)
      : world_(seed), cluster_(world_, optionsFor(seed)), probe_(cluster_), random_(world_.random("copies")) {
    cluster_.start();
    for (const char* mount : MOUNTS) {
      cluster_.mount(mount);
      for (unsigned i = 1; i <= WORKERS_PER_MOUNT; ++i) {
        auto number = static_cast<unsigned>(clients_.size() + 1);
        names_.push_back(std::string(mount) + "-" + std::to_string(i));
        clients_.push_back(kj::heap<ChaosClient>(cluster_, mount, names_.back(), number));
        all_.push_back(clients_.back().get());
        all_.back()->begin();
      }
    }
  }

  void run() {
    Weather weather(cluster_, {std::begin(MOUNTS), std::end(MOUNTS)});
    std::vector<kj::Promise<void>> working;
    unsigned ended = 0;
    for (auto* client : all_) {
      auto done = client->run(all_).promise().then([&ended] { ++ended; });
      working.push_back(done.eagerlyEvaluate(nullptr));
    }
    bool moving = true;
    auto moves = keepMoving(moving).promise().eagerlyEvaluate(nullptr);
    weather.blow(STORM, [this] { check(); });
    weather.calm();
    moving = false;
    world_.runFor(CALM_WORK);
    for (auto* client : all_) {
      client->stopping = true;
    }
    cluster_.waitHealthy(RECOVERY_LIMIT);
    bool allEnded = world_.runUntil([&] { return ended == all_.size(); }, RECOVERY_LIMIT);
    for (auto* client : all_) {
      EXPECT_TRUE(allEnded) << "a call never ends; " << client->doing();
    }
    check();
    if (allEnded) {
      finalCheck();
    }
    working.clear();
  }
  unsigned moved() const { return moved_; }

 private:
  static SimClusterOptions optionsFor(uint64_t seed) {
    SimClusterOptions options;
    options.masters = (seed & GROUP) != 0 ? 3 : 1;
    options.servers = 4;  // three copies can be had while one is away
    options.repairDelaySeconds = 60;
    return options;
  }

  // Directories go from class to class all the time.
  Task<void> keepMoving(const bool& moving) {
    while (moving) {
      Nanos pause = random_->between(100 * MILLISECOND, 4 * SECOND);
      co_await world_.clock().after(pause);
      auto& name = names_[random_->below(names_.size())];
      uint8_t copies = static_cast<uint8_t>(random_->between(2, 3));
      int code = co_await probe_.copying("/" + name, copies);
      world_.note("copies of " + name + ": " + std::to_string(copies) + " -> " + std::to_string(code));
      moved_ += code == 0 ? 1 : 0;
    }
  }

  void check() {
    for (auto* client : all_) {
      KJ_REQUIRE(client->problem().empty(), client->problem(), world_.seed(), world_.clock().monotonic());
    }
  }

  void waitTasks() {
    cluster_.waitFor("a leader", [this] { return !cluster_.leaderNow().empty(); });
    for (Nanos end = world_.clock().monotonic() + 4 * COPY_LIMIT; probe_.copyTasks() > 0;) {
      KJ_REQUIRE(world_.clock().monotonic() < end, "copying doesn't end in calm weather", world_.seed());
      world_.runFor(200 * MILLISECOND);
    }
  }

  void checkBytes(Client& reader, const char* when) {
    for (auto* client : all_) {
      EXPECT_EQ(cluster_.wait(client->checkFiles(reader)), "") << "fsynced bytes " << when;
    }
  }

  void finalCheck() {
    for (auto* client : all_) {
      client->finish();
    }
    Client& reader = cluster_.mount("k9");
    checkBytes(reader, "in calm weather");
    waitTasks();
    checkBytes(reader, "after copying");
    cluster_.waitFor("nothing sealed", [this] { return cluster_.map().sealed.empty(); }, LEFT_LIMIT);
    for (auto& name : names_) {
      ASSERT_EQ(cluster_.wait(probe_.copying("/" + name, 2)), 0);
    }
    waitTasks();
    checkBytes(reader, "of two copies");
    cluster_.waitFor("nothing sealed", [this] { return cluster_.map().sealed.empty(); }, LEFT_LIMIT);
    checkBytes(reader, "when the old objects have gone");
    EXPECT_TRUE(world_.runUntil([this] { return cluster_.mastersAgree(); }, RECOVERY_LIMIT));
  }

  World world_;
  SimCluster cluster_;
  Probe probe_;
  kj::Own<SimRandom> random_;
  std::vector<std::string> names_;
  std::vector<kj::Own<ChaosClient>> clients_;
  std::vector<ChaosClient*> all_;
  unsigned moved_ = 0;
};

uint64_t numberFrom(const char* variable, uint64_t otherwise) {
  const char* text = getenv(variable);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

void survive(uint64_t seed) {
  SCOPED_TRACE("again: CAIRN_SIM_SEED=" + std::to_string(seed) + " sim_cluster --gtest_filter=Copies.Storms");
  try {
    CopyStorm storm(seed);
    storm.run();
    printf("seed %llu: %u times set\n", static_cast<unsigned long long>(seed), storm.moved());
  } catch (const kj::Exception& e) {
    ADD_FAILURE() << "seed " << seed << ": " << e.getDescription().cStr();
  }
}

// CAIRN_SIM_SEED: this one alone. CAIRN_FULL: many. CAIRN_SIM_PART=5: a fifth of them.
TEST(Copies, Storms) {
  uint64_t given = numberFrom("CAIRN_SIM_SEED", 0);
  if (given != 0) {
    survive(given);
    return;
  }
  uint64_t first = numberFrom("CAIRN_SIM_FIRST", 1);
  uint64_t seeds = (numberFrom("CAIRN_FULL", 0) != 0 ? SEEDS_FULL : SEEDS) / numberFrom("CAIRN_SIM_PART", 1);
  for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed) {
    survive(seed | (seed % 3 == 0 ? GROUP : 0));
  }
}

}  // namespace
}  // namespace cairn
