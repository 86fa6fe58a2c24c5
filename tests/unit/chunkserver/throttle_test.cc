// How fast things move in the background: a set rate is kept and used, users are felt, the floor holds.
#include <gtest/gtest.h>

#include "chunkserver/replication/merge.h"
#include "chunkserver/replication/throttle.h"
#include "chunkserver/scrub/scrub_place.h"
#include "chunkserver/store/chunk_format.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr uint64_t MIB = 1 << 20;

uint64_t movedIn(World& world, Throttle& throttle, Nanos time, uint64_t piece = MIB) {
  Nanos end = world.clock().monotonic() + time;
  uint64_t moved = 0;
  while (world.clock().monotonic() < end) {
    world.await(throttle.take(piece), 100 * SECOND);
    moved += piece;
  }
  return moved;
}

TEST(Throttle, aFixedRateIsUsedAndNotExceeded) {
  World world(1);
  Load load(world.clock());
  Throttle throttle(world.clock(), load, ThrottleRules{50 * MIB});
  uint64_t moved = movedIn(world, throttle, 10 * SECOND);
  EXPECT_GE(moved, 450 * MIB);
  EXPECT_LE(moved, 510 * MIB);
}

TEST(Throttle, itFallsToTheFloorWhileUsersSufferAndRisesWhenTheyDont) {
  World world(2);
  Load load(world.clock());
  Throttle throttle(world.clock(), load, ThrottleRules{});
  auto users = [&](Nanos latency, Nanos time) {
    Nanos end = world.clock().monotonic() + time;
    while (world.clock().monotonic() < end) {
      for (unsigned i = 0; i < Load::SAMPLES; ++i) {
        load.note(false, BLOCK_BYTES, latency);
      }
      auto taken = throttle.take(1);
      world.runFor(100 * MILLISECOND);
    }
  };
  users(MILLISECOND, 10 * SECOND);
  uint64_t easy = throttle.rate();
  users(3 * MILLISECOND, 20 * SECOND);
  EXPECT_EQ(throttle.rate(), ThrottleRules{}.floor) << "users wait three times as long as in quiet times";
  users(MILLISECOND, 60 * SECOND);
  EXPECT_GT(throttle.rate(), 10 * ThrottleRules{}.floor);
  EXPECT_GT(easy, 10 * ThrottleRules{}.floor);
}

// More users than when it was quiet: what moves in the background all the time must not crawl for ever because of them.
TEST(Throttle, itDoesNotStayAtTheFloorWhenUsersWaitForSomethingElse) {
  World world(5);
  Load load(world.clock());
  Throttle throttle(world.clock(), load, ThrottleRules{});
  auto users = [&](Nanos latency, Nanos time) {
    Nanos end = world.clock().monotonic() + time;
    while (world.clock().monotonic() < end) {
      for (unsigned i = 0; i < Load::SAMPLES; ++i) {
        load.note(false, BLOCK_BYTES, latency);
      }
      auto taken = throttle.take(1);
      world.runFor(100 * MILLISECOND);
    }
  };
  users(MILLISECOND, 10 * SECOND);
  users(3 * MILLISECOND, Throttle::FLOOR_PATIENCE);
  EXPECT_EQ(throttle.rate(), ThrottleRules{}.floor);
  users(3 * MILLISECOND, 120 * SECOND);
  EXPECT_GT(throttle.rate(), 10 * ThrottleRules{}.floor);
}

TEST(Throttle, nobodyElseMeansFullSpeed) {
  World world(3);
  Load load(world.clock());
  Throttle throttle(world.clock(), load, ThrottleRules{});
  movedIn(world, throttle, 5 * SECOND, 4 * MIB);
  EXPECT_EQ(throttle.rate(), ThrottleRules{}.ceiling);
}

TEST(Load, largeRequestsAreNotTakenForSlowOnes) {
  World world(4);
  Load load(world.clock());
  for (unsigned i = 0; i < Load::SAMPLES; ++i) {
    load.note(false, BLOCK_BYTES, MILLISECOND);
  }
  for (unsigned i = 0; i < Load::SAMPLES; ++i) {
    load.note(false, MIB, 10 * MILLISECOND);
  }
  EXPECT_EQ(load.strain(), 1.0);
}

// The base has lost a checksum: the others say what it was, if they agree.
TEST(MergeLostSums, areTakenFromMembersThatAgree) {
  CopyState base{true, 1, {11, LOST_SUM, 13}, {1}, {}};
  CopyState good{true, 2, {11, 12, 13}, {}, {}};
  CopyState other{true, 3, {11, 99, 13}, {}, {}};
  auto plan = planMerge({base, good, good}, 0, false);
  ASSERT_EQ(plan.patches.size(), 1u);
  EXPECT_EQ(plan.patches[0].block, 1u);
  EXPECT_EQ(plan.patches[0].member, 1u);
  EXPECT_TRUE(plan.bad.empty());
  auto doubtful = planMerge({base, good, other}, 0, false);
  EXPECT_EQ(doubtful.bad, std::vector<uint32_t>{1}) << "no byte beats a wrong one";
}

TEST(ScrubPlace, survivesBeingWrittenDown) {
  ScrubPlace place;
  place.running = place.fast = place.inShard = true;
  place.begun = 5;
  place.lastBegun = 3;
  place.lastEnded = 4;
  place.bytesDone = 1ull << 40;
  place.bytesTotal = 1ull << 41;
  place.shard = ShardId{70000};
  place.chunk = ChunkId{ObjectId{1ull << 50}, 9};
  auto back = ScrubPlace::parse(place.text());
  EXPECT_EQ(back.text(), place.text());
  EXPECT_EQ(back.chunk, place.chunk);
  EXPECT_EQ(ScrubPlace::parse(place.text().substr(0, 20)).text(), ScrubPlace().text()) << "damaged: the beginning";
}

}  // namespace
}  // namespace cairn
