#include "tests/sim/world/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

Task<int> napping(Clock& clock, int naps) {
  for (int i = 0; i < naps; i++) {
    co_await clock.after(SECOND);
  }
  co_return naps;
}

TEST(World, VirtualTimeCostsNothing) {
  World world(1);
  EXPECT_EQ(world.await(napping(world.clock(), 10'000), 20'000 * SECOND), 10'000);
  EXPECT_EQ(world.clock().monotonic(), 10'000 * SECOND);
}

TEST(World, SaysWhenItIsTooLate) {
  World world(1);
  try {
    world.await(napping(world.clock(), 10), 5 * SECOND);
    FAIL();
  } catch (const kj::Exception& e) {
    EXPECT_THAT(e.getDescription().cStr(), testing::HasSubstr("not done within the time given"));
  }
  EXPECT_EQ(world.clock().monotonic(), 5 * SECOND);
}

TEST(World, SaysWhenNothingCanEverHappen) {
  World world(1);
  try {
    world.await(kj::Promise<void>(kj::NEVER_DONE), SECOND);
    FAIL();
  } catch (const kj::Exception& e) {
    EXPECT_THAT(e.getDescription().cStr(), testing::HasSubstr("deadlock"));
  }
  EXPECT_ANY_THROW(world.runUntil([] { return false; }, SECOND));
}

TEST(World, RunsUntilAConditionHolds) {
  World world(1);
  auto task = napping(world.clock(), 10).promise();
  EXPECT_TRUE(world.runUntil([&] { return world.clock().monotonic() >= 3 * SECOND; }, 60 * SECOND));
  EXPECT_EQ(world.clock().monotonic(), 3 * SECOND);
  EXPECT_FALSE(world.runUntil([] { return false; }, 2 * SECOND));
  EXPECT_EQ(world.clock().monotonic(), 5 * SECOND);
  world.runFor(60 * SECOND);
  EXPECT_EQ(world.clock().monotonic(), 65 * SECOND);
}

TEST(World, WallClockCanStep) {
  World world(1);
  Nanos before = world.clock().wall();
  world.clock().stepWall(-3600 * SECOND);
  EXPECT_EQ(world.clock().wall(), before - 3600 * SECOND);
  EXPECT_EQ(world.clock().monotonic(), 0);
}

TEST(World, StreamsOfChanceAreIndependent) {
  uint64_t otherSeed;
  {
    World other(10);
    otherSeed = other.random("a")->next();
  }
  World world(9);
  auto a = world.random("a"), again = world.random("a"), b = world.random("b");
  uint64_t first = a->next();
  EXPECT_EQ(first, again->next());
  EXPECT_NE(first, b->next());
  EXPECT_NE(first, otherSeed);
}

}  // namespace
}  // namespace cairn
