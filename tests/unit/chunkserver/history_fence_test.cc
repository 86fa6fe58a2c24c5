// What a chunkserver remembers of the masters it has obeyed, and whom it therefore doesn't obey.
#include "chunkserver/history_fence.h"

#include <gtest/gtest.h>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

HistoryPoint point(uint64_t term, uint64_t index, uint64_t drawn = 7, uint64_t epoch = 0) {
  return {GroupEpoch{epoch}, Term{term}, drawn, LogIndex{index}};
}

TEST(HistoryFence, WhoHasLessBehindItIsNotObeyed) {
  HistoryPoint obeyed = point(6, 500);
  EXPECT_TRUE(follows(point(6, 500), obeyed));
  EXPECT_TRUE(follows(point(6, 501), obeyed));
  EXPECT_TRUE(follows(point(8, 502), obeyed));
  EXPECT_FALSE(follows(point(6, 499), obeyed));
  EXPECT_FALSE(follows(point(5, 900), obeyed)) << "an earlier term's leader was deposed";
  EXPECT_FALSE(follows(point(7, 400), obeyed)) << "a later term begins after all that was committed";
  EXPECT_FALSE(follows(point(6, 900, 8), obeyed)) << "the same term of another history";
  EXPECT_TRUE(follows(point(1, 1, 8, 1), obeyed)) << "people have begun the group anew";
  EXPECT_FALSE(follows(obeyed, point(1, 1, 8, 1)));
}

struct Remembering {
  explicit Remembering(uint64_t seed) : world(seed) { start(); }
  void start() {
    disk = world.volume("home").open();
    fence = kj::heap<HistoryFence>(*disk);
    auto opened = fence->open();
    ASSERT_TRUE(opened.ok()) << opened.error().why;
  }
  void note(const HistoryPoint& obeyed) {
    ASSERT_TRUE(fence->obeys(obeyed));
    ASSERT_TRUE(world.await(fence->note(), SECOND).ok());
  }
  World world;
  kj::Own<Disk> disk;
  kj::Own<HistoryFence> fence;
};

TEST(HistoryFence, WhatWasNotedOutlivesAPowerCut) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Remembering r(seed);
    for (uint64_t index = 1; index <= 1 + seed % 5; ++index) {
      r.note(point(2, 10 * index));
    }
    HistoryPoint noted = r.fence->obeyed();
    // The next one is on its way when the power goes.
    ASSERT_TRUE(r.fence->obeys(point(3, 1000)));
    auto noting = r.fence->note().promise();
    r.world.volume("home").powerCut();
    r.start();
    bool either = r.fence->obeyed() == noted || r.fence->obeyed() == point(3, 1000);
    EXPECT_TRUE(either) << toText(r.fence->obeyed());
    EXPECT_FALSE(r.fence->obeys(point(2, 9)));
  }
}

TEST(HistoryFence, ADamagedFileIsNotTakenForNone) {
  Remembering r(1);
  r.note(point(2, 10));
  r.note(point(2, 20));
  auto file = r.disk->open("history", Disk::Mode::READ_WRITE);
  ASSERT_TRUE(file.ok());
  kj::byte wrong[4] = {1, 2, 3, 4};
  ASSERT_TRUE(file.value()->write(16, wrong).ok());
  HistoryFence one(*r.disk);
  ASSERT_TRUE(one.open().ok());
  EXPECT_EQ(one.obeyed(), point(2, 10));
  ASSERT_TRUE(file.value()->write(HistoryFence::SLOT_BYTES + 16, wrong).ok());
  HistoryFence none(*r.disk);
  EXPECT_EQ(none.open().code(), EINVAL);
}

}  // namespace
}  // namespace cairn
