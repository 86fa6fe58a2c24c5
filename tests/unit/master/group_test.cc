// Masters as a group: it forms, loses members, gets them back, and loses nothing.
#include <gtest/gtest.h>

#include "tests/unit/master/group_world.h"

namespace cairn {
namespace {

TEST(GroupTest, FormsOutOfOneAndThoseThatJoin) {
  GroupWorld cluster(1);
  cluster.form();
  std::string leader = cluster.leader();
  EXPECT_EQ(cluster.write(leader, "a"), 0);
  cluster.expectEqual();
  for (const auto& name : cluster.names()) {
    EXPECT_TRUE(cluster.has(name, "a")) << name;
    EXPECT_EQ(cluster.replica(name).leaderName(), leader);
  }
}

TEST(GroupTest, ANewLeaderTakesOverWithEverythingAcknowledged) {
  GroupWorld cluster(2);
  cluster.form();
  for (int round = 0; round < 6; round++) {
    std::string old = cluster.leader();
    std::string session = "before " + std::to_string(round);
    cluster.writeSomehow(session);
    old = cluster.leader();
    round % 2 == 0 ? cluster.crash(old) : cluster.powerCut(old);
    Nanos died = cluster.world.clock().monotonic();
    std::string leader = cluster.leader();
    EXPECT_LT(cluster.world.clock().monotonic() - died, SECOND);
    EXPECT_TRUE(cluster.has(leader, session));
    EXPECT_EQ(cluster.write(leader, "after " + std::to_string(round)), 0);
    ASSERT_TRUE(cluster.start(old).ok());
  }
  cluster.expectEqual();
}

TEST(GroupTest, APowerCutOfAllLosesNothingAcknowledged) {
  GroupWorld cluster(3);
  cluster.form();
  for (int round = 0; round < 5; round++) {
    std::string session = "round " + std::to_string(round);
    cluster.writeSomehow(session);
    for (const auto& name : cluster.names()) {
      cluster.powerCut(name);
    }
    for (const auto& name : cluster.names()) {
      ASSERT_TRUE(cluster.start(name).ok());
    }
    std::string leader = cluster.leader();
    for (int i = 0; i <= round; i++) {
      EXPECT_TRUE(cluster.has(leader, "round " + std::to_string(i)));
    }
  }
  cluster.expectEqual();
}

TEST(GroupTest, AMemberFarBehindGetsASnapshot) {
  GroupWorld cluster(4);
  cluster.snapshotLogBytes = 64 << 10;
  cluster.segmentBytes = 64 << 10;
  cluster.form();
  std::string leader = cluster.leader();
  std::string away = leader == "m3" ? "m2" : "m3";
  cluster.crash(away);
  for (int i = 0; i < 1500; i++) {
    cluster.writeSomehow("session with a long name, so that the log grows " + std::to_string(i));
  }
  cluster.world.runFor(2 * SECOND);
  ASSERT_TRUE(cluster.start(away).ok());
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(away, "session with a long name, so that the log grows 700"));
  cluster.crash(away);
  ASSERT_TRUE(cluster.start(away).ok());
  cluster.expectEqual();
}

// Its log still has entries of terms that were over before the snapshot.
TEST(GroupTest, AMemberStartsFromASnapshotOfALaterTerm) {
  GroupWorld cluster(11);
  cluster.form();
  for (const char* session : {"in the first term", "in the second", "in the third"}) {
    cluster.writeSomehow(session);
    std::string leader = cluster.leader();
    ASSERT_TRUE(cluster.group(leader).transfer(leader == "m1" ? "m2" : "m1").ok());
    ASSERT_TRUE(cluster.world.runUntil(
        [&] {
          std::string now = cluster.leaderNow();
          return !now.empty() && now != leader;
        },
        SECOND));
  }
  std::string leader = cluster.leader();
  cluster.group(leader).snapshotSoon();
  cluster.world.runFor(2 * SECOND);
  cluster.writeSomehow("after the snapshot");
  cluster.crash(leader);
  cluster.leader();
  ASSERT_TRUE(cluster.start(leader).ok());
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(leader, "in the first term"));
}

TEST(GroupTest, ACutOffLeaderAcknowledgesNothingAndReadsNothing) {
  GroupWorld cluster(5);
  cluster.form();
  std::string old = cluster.leader();
  cluster.world.network().isolate(old);
  auto read = cluster.replica(old).readBarrier();
  auto isOther = [&] { return cluster.leaderNow() != old; };
  ASSERT_TRUE(cluster.world.runUntil(isOther, 5 * SECOND));
  auto answered = cluster.world.await(kj::mv(read), GroupWorld::LIMIT);
  EXPECT_FALSE(answered.ok());
  cluster.writeSomehow("by the new one");
  cluster.world.network().rejoin(old);
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(old, "by the new one"));
}

TEST(GroupTest, AStoppingLeaderHandsOver) {
  GroupWorld cluster(6);
  cluster.form();
  std::string old = cluster.leader();
  cluster.stop(old);
  Nanos began = cluster.world.clock().monotonic();
  std::string leader = cluster.leader();
  EXPECT_NE(leader, old);
  EXPECT_LT(cluster.world.clock().monotonic() - began, 150 * MILLISECOND) << "less than an election timeout";
}

TEST(GroupTest, P3_ALostDirectoryIsNotLetInUnderItsOldName) {
  GroupWorld cluster(7);
  cluster.form();
  std::string leader = cluster.leader();
  std::string lost = leader == "m3" ? "m2" : "m3";
  cluster.powerCut(lost);
  cluster.replaceDisk(lost);
  EXPECT_EQ(cluster.start(lost).code(), ENOENT) << "an empty directory, and nobody said what for";
  EXPECT_EQ(cluster.start(lost, true, false).code(), EEXIST) << "a second cluster under the same name";
  ASSERT_TRUE(cluster.start(lost, false, true).ok());
  cluster.world.runFor(5 * SECOND);
  EXPECT_FALSE(cluster.group(lost).hasJoined());

  leader = cluster.leader();
  auto removed = cluster.world.await(cluster.group(leader).remove(lost), GroupWorld::LIMIT);
  EXPECT_TRUE(removed.ok()) << removed.error().why;
  EXPECT_TRUE(cluster.world.runUntil([&] { return cluster.group(lost).hasJoined(); }, GroupWorld::LIMIT));
  cluster.expectEqual();
}

TEST(GroupTest, WhatWouldLeaveNoMajorityIsRefused) {
  GroupWorld cluster(8);
  cluster.form();
  std::string leader = cluster.leader();
  std::string away = leader == "m3" ? "m2" : "m3";
  std::string other = leader != "m1" ? "m1" : away == "m2" ? "m3" : "m2";
  cluster.crash(away);
  cluster.world.runFor(SECOND);
  auto removed = cluster.world.await(cluster.group(leader).remove(other), GroupWorld::LIMIT);
  EXPECT_EQ(removed.code(), EBUSY);
  auto transferred = cluster.group(leader).transfer(other);
  EXPECT_TRUE(transferred.ok());
  EXPECT_TRUE(cluster.world.runUntil([&] { return cluster.leaderNow() == other; }, SECOND));
}

TEST(GroupTest, TheSameSeedGivesTheSameRun) {
  uint64_t hashes[2];
  for (auto& hash : hashes) {
    GroupWorld cluster(9);
    cluster.form();
    cluster.writeSomehow("a");
    cluster.crash(cluster.leader());
    cluster.writeSomehow("b");
    hash = cluster.world.traceHash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

}  // namespace
}  // namespace cairn
