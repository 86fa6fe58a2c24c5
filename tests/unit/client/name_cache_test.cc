// What is known of names: reads and own changes in any order, directories known whole, room.
#include "fuse-client/client/name_cache.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

constexpr InodeId D{1}, E{2}, NONE{}, F{10}, G{11};

TEST(NameCache, TheNewestCounts) {
  NameCache names(100);
  EXPECT_FALSE(names.find(D, "f"));
  names.learn(D, "f", F, 5);
  names.learn(D, "g", NONE, 5);
  EXPECT_EQ(names.find(D, "f"), F);
  EXPECT_EQ(names.find(D, "g"), NONE);
  EXPECT_FALSE(names.find(D, "h"));

  names.changed(D, "f", NONE, 8, true);
  names.learn(D, "f", F, 7);
  EXPECT_EQ(names.find(D, "f"), NONE) << "a read of before the removal";
  names.learn(D, "h", G, 7);
  EXPECT_FALSE(names.find(D, "h")) << "of before a change of this mount: it may have been that name's";
  names.learn(D, "h", G, 8);
  EXPECT_EQ(names.find(D, "h"), G);
}

TEST(NameCache, WhoMadeADirectoryKnowsAllInIt) {
  NameCache names(100);
  names.made(D, 3);
  EXPECT_EQ(names.find(D, "f"), NONE);
  names.changed(D, "f", F, 4, true);
  EXPECT_EQ(names.find(D, "f"), F);
  names.changed(D, "f", NONE, 5, true);
  EXPECT_EQ(names.find(D, "f"), NONE);
  names.changed(D, "g", G, 6, true);
  names.recall(D, "g");
  EXPECT_FALSE(names.find(D, "g")) << "another mount changes it";
  EXPECT_FALSE(names.find(D, "x")) << "and may have made others before";
  EXPECT_TRUE(names.contains(D));
  names.drop(D);
  EXPECT_FALSE(names.contains(D));
}

TEST(NameCache, WhatNobodyAsksForIsDroppedAtTheSecondRecall) {
  NameCache names(100);
  names.learn(D, "f", F, 1);
  names.learn(D, "g", G, 1);
  names.recall(D, "f");
  EXPECT_EQ(names.find(D, "g"), G);
  names.recall(D, "f");
  EXPECT_TRUE(names.contains(D)) << "somebody asked in between";
  names.recall(D, "f");
  EXPECT_FALSE(names.contains(D));
}

TEST(NameCache, AnOwnChangeWithoutALeaseIsNotBelieved) {
  NameCache names(100);
  names.made(D, 3);
  names.changed(D, "f", F, 4, false);
  EXPECT_FALSE(names.find(D, "f"));
  EXPECT_FALSE(names.find(D, "g"));
}

TEST(NameCache, ChangesTakenInOutOfOrder) {
  NameCache names(100);
  names.made(D, 3);
  names.changed(D, "f", NONE, 6, true);  // removed, and made before that
  names.changed(D, "f", F, 5, true);
  EXPECT_FALSE(names.find(D, "f") == F);
  names.learn(E, "f", NONE, 2);
  names.changed(E, "f", NONE, 6, true);
  names.changed(E, "f", F, 5, true);
  EXPECT_FALSE(names.find(E, "f") == F);
}

TEST(NameCache, TheLongestUnusedDirectoryGoes) {
  NameCache names(32);  // four directories
  names.learn(D, "f", F, 1);
  names.learn(D, "g", G, 1);
  names.learn(E, "f", F, 1);
  EXPECT_TRUE(names.find(D, "f"));
  for (uint64_t i = 0; i < 3; ++i) {
    names.learn(InodeId{100 + i}, "x", F, 1);
    EXPECT_TRUE(names.find(D, "f"));
  }
  EXPECT_FALSE(names.contains(E));
  EXPECT_TRUE(names.contains(D));
  EXPECT_EQ(names.takeDropped(), std::vector<InodeId>{E});
  EXPECT_TRUE(names.takeDropped().empty());
}

TEST(NameCache, OneDirectoryHasHalfOfTheRoom) {
  NameCache names(100);
  names.made(D, 1);
  for (uint64_t i = 0; i < 60; ++i) {
    names.changed(D, "n" + std::to_string(i), InodeId{100 + i}, 2 + i, true);
    if (i < 50) {
      ASSERT_EQ(names.find(D, "n0"), InodeId{100});
    }
  }
  EXPECT_FALSE(names.find(D, "n0")) << "dropped, and so not known to be absent";
}

}  // namespace
}  // namespace cairn
