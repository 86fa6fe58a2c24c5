#include <gtest/gtest.h>

#include "master/placement/work_queue.h"
#include "tests/unit/master/placement_world.h"

namespace cairn {
namespace {

class WorkQueueTest : public testing::Test {
 protected:
  WorkQueueTest() : world(1) {
    world.startAll();
    world.turn();
    queue.emplace(world.map.version);
  }

  ServerId server(size_t i) const { return world.machines[i].record.id; }
  std::vector<uint64_t> handOut(size_t i) { return queue->handOut(server(i), world.map, world.now, 100); }
  void done(size_t i, uint64_t id) { queue->done(server(i), id, world.map.version, world.map); }
  bool isFinished(uint64_t id) { return queue->finished(1000) == std::vector<uint64_t>{id}; }

  PlacementWorld world;
  std::optional<WorkQueue> queue;
};

TEST_F(WorkQueueTest, OneChunkConcernsOnePrimary) {
  ObjectId object{42};
  queue->add({1, object, PlacementWorld::CLASS, 1}, world.map);
  ServerId primary = world.map.volume(world.map.shard(PlacementWorld::CLASS, {object, 0})->primary)->server;
  for (size_t i = 0; i < 3; ++i) {
    auto given = handOut(i);
    EXPECT_EQ(given.size(), server(i) == primary ? 1 : 0);
    EXPECT_TRUE(handOut(i).empty()) << "not twice";
    EXPECT_EQ(isFinished(1), false);
  }
  for (size_t i = 0; i < 3; ++i) {
    if (server(i) != primary) {
      done(i, 1);
      EXPECT_FALSE(isFinished(1)) << "not its shard";
    }
  }
  queue->done(primary, 1, world.map.version, world.map);
  EXPECT_TRUE(isFinished(1));
  queue->remove(1);
  EXPECT_EQ(queue->size(), 0);
}

TEST_F(WorkQueueTest, ManyChunksConcernAllPrimaries) {
  queue->add({1, ObjectId{42}, PlacementWorld::CLASS, 100000}, world.map);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(isFinished(1));
    EXPECT_EQ(handOut(i).size(), 1);
    done(i, 1);
  }
  EXPECT_TRUE(isFinished(1));
}

TEST_F(WorkQueueTest, AShardThatGotAnotherPrimaryIsDoneAgain) {
  queue->add({1, ObjectId{42}, PlacementWorld::CLASS, 100000}, world.map);
  for (size_t i = 0; i < 3; ++i) {
    handOut(i);
  }
  auto version = world.map.version;
  world.leave(0);
  world.turn();
  for (size_t i = 1; i < 3; ++i) {
    queue->done(server(i), 1, version, world.map);
  }
  EXPECT_FALSE(isFinished(1)) << "what they did was under the map before";
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(handOut(i).size(), 1);
    done(i, 1);
  }
  EXPECT_TRUE(isFinished(1));
}

TEST_F(WorkQueueTest, ALostReplyIsHandedOutAgain) {
  queue->add({1, ObjectId{42}, PlacementWorld::CLASS, 100000}, world.map);
  EXPECT_EQ(handOut(0).size(), 1);
  world.now += WorkQueue::HAND_AGAIN - 1;
  EXPECT_TRUE(handOut(0).empty());
  world.now += 1;
  EXPECT_EQ(handOut(0).size(), 1);
  queue->forget(server(0));
  EXPECT_EQ(handOut(0).size(), 1) << "a restarted server knows of nothing";
}

TEST_F(WorkQueueTest, ClaimsFromBeforeThisMasterDontCount) {
  queue.emplace(next(world.map.version));
  queue->add({1, ObjectId{42}, PlacementWorld::CLASS, 100000}, world.map);
  for (size_t i = 0; i < 3; ++i) {
    handOut(i);
    done(i, 1);
  }
  EXPECT_FALSE(isFinished(1));
}

TEST_F(WorkQueueTest, TheWindowIsBounded) {
  uint64_t id = 0;
  while (queue->hasRoom()) {
    queue->add({++id, ObjectId{id}, PlacementWorld::CLASS, 1}, world.map);
  }
  EXPECT_EQ(id, WorkQueue::ITEMS_MAX);
  size_t handed = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (auto given = handOut(i); !given.empty(); given = handOut(i)) {
      EXPECT_LE(given.size(), 100);
      handed += given.size();
      for (uint64_t each : given) {
        done(i, each);
      }
    }
  }
  EXPECT_EQ(handed, WorkQueue::ITEMS_MAX);
  EXPECT_EQ(queue->finished(1 << 20).size(), WorkQueue::ITEMS_MAX);
}

}  // namespace
}  // namespace cairn
