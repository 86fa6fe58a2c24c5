// How long leases last, and which replies may be believed.
#include "fuse-client/client/lease_book.h"

#include <gtest/gtest.h>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr uint8_t BITS = 3;

struct Stage {
  World world{1};
  LeaseBook book{world.clock()};
  Grant call(uint64_t index) { return {BITS, book.link(), book.nextCall(), index}; }
};

TEST(LeaseBook, NothingIsBelievedLongerThanTheLease) {
  Stage stage;
  auto& [world, book] = stage;
  uint64_t link = book.link();
  EXPECT_FALSE(book.lasts(link)) << "not attached yet";
  book.renewed(world.clock().monotonic() + SECOND);
  EXPECT_TRUE(book.lasts(link));
  world.runFor(SECOND - MILLISECOND);
  EXPECT_TRUE(book.lasts(link));
  world.runFor(MILLISECOND);
  EXPECT_FALSE(book.lasts(link)) << "outlived its lease: it may have stood still, and others go on";
  book.renewed(world.clock().monotonic() + SECOND);
  EXPECT_TRUE(book.lasts(link));
}

TEST(LeaseBook, LeasesEndWithTheirLink) {
  Stage stage;
  auto& [world, book] = stage;
  uint64_t link = book.link();
  auto onItsWay = stage.call(7);
  book.renewed(world.clock().monotonic() + SECOND);
  book.linkLost();
  EXPECT_FALSE(book.lasts(link));
  book.renewed(world.clock().monotonic() + SECOND);
  EXPECT_FALSE(book.lasts(link)) << "the master asks nobody for what was granted over an earlier link";
  EXPECT_TRUE(book.lasts(book.link()));
  EXPECT_FALSE(book.stands(onItsWay));
}

TEST(LeaseBook, ARecallVoidsWhatWasToldBefore) {
  Stage stage;
  auto& [world, book] = stage;
  auto before = stage.call(7);
  auto same = stage.call(8);
  auto after = stage.call(9);
  book.recalled(8);
  book.recalled(5);
  EXPECT_FALSE(book.stands(before));
  EXPECT_FALSE(book.stands(same));
  EXPECT_TRUE(book.stands(after));
}

TEST(LeaseBook, WhatIsGivenUpIsNotGrantedByCallsOfBefore) {
  Stage stage;
  auto& [world, book] = stage;
  auto before = stage.call(7);
  EXPECT_FALSE(book.manyUnwanted());
  for (uint64_t i = 0; !book.manyUnwanted(); ++i) {
    book.giveUp(InodeId{i});
  }
  EXPECT_TRUE(book.stands(before)) << "the master hasn't been told";
  EXPECT_EQ(book.takeUnwanted().front(), InodeId{0});
  EXPECT_FALSE(book.stands(before));
  EXPECT_TRUE(book.stands(stage.call(7)));
  EXPECT_FALSE(book.manyUnwanted());
}

}  // namespace
}  // namespace cairn
