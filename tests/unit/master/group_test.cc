// Masters as a group: it forms, loses members, gets them back, and loses nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "master/propose.h"
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

TEST(GroupTest, AMemberWithADamagedLogFetchesWhatItLost) {
  for (uint64_t seed : {31, 32, 35}) {  // of 33 the cut takes the state too, and there is no beginning to make it from
    GroupWorld cluster(seed);
    cluster.form();
    for (int i = 0; i < 50; i++) {
      cluster.writeSomehow("before " + std::to_string(i));
    }
    std::string away = cluster.leader() == "m2" ? "m3" : "m2";
    seed == 31 ? cluster.crash(away) : cluster.powerCut(away);
    cluster.rotLog(away);
    cluster.writeSomehow("meanwhile");
    auto started = cluster.start(away);
    ASSERT_TRUE(started.ok()) << started.error().why;
    EXPECT_TRUE(cluster.world.volume(away).open()->exists("damage"));
    cluster.expectEqual();
    cluster.writeSomehow("after");
    cluster.expectEqual();
    EXPECT_TRUE(cluster.has(away, "before 49"));
    EXPECT_TRUE(cluster.has(away, "meanwhile"));
    EXPECT_FALSE(cluster.world.volume(away).open()->exists("damage"));
    // And it is a member like any other again.
    cluster.crash(away);
    ASSERT_TRUE(cluster.start(away).ok());
    cluster.expectEqual();
    auto handedOver = [&] {  // asked again, since an order may be lost
      std::string now = cluster.leaderNow();
      bool asks = !now.empty() && now != away;
      if (asks) {
        (void)cluster.group(now).transfer(away);
      }
      return now == away;
    };
    ASSERT_TRUE(cluster.world.runUntil(handedOver, 5 * SECOND));
    EXPECT_TRUE(cluster.has(away, "before 0"));
  }
}

// m1 and m2 acknowledged what m3 never got. With m2's copy damaged and m1 away, nobody may lead.
TEST(GroupTest, ADamagedLogCanNotHideWhatItsMemberAcknowledged) {
  GroupWorld cluster(34);
  cluster.form();
  cluster.crash("m3");
  for (int i = 0; i < 20; i++) {
    cluster.writeSomehow("acknowledged " + std::to_string(i));
  }
  cluster.powerCut("m1");
  cluster.powerCut("m2");
  cluster.rotLog("m2");
  ASSERT_TRUE(cluster.start("m2").ok());
  ASSERT_TRUE(cluster.start("m3").ok());
  cluster.world.runFor(20 * SECOND);
  EXPECT_EQ(cluster.leaderNow(), "");
  ASSERT_TRUE(cluster.start("m1").ok());
  std::string leader = cluster.leader();
  for (int i = 0; i < 20; i++) {
    EXPECT_TRUE(cluster.has(leader, "acknowledged " + std::to_string(i)));
  }
  cluster.expectEqual();
}

TEST(GroupTest, ADamagedLogStopsAMasterThatIsAlone) {
  GroupWorld cluster(35, 1);
  cluster.form();
  cluster.writeSomehow("acknowledged");
  cluster.crash("m1");
  cluster.rotLog("m1");
  auto started = cluster.start("m1");
  ASSERT_EQ(started.code(), EIO);
  EXPECT_NE(started.error().why.find("Nothing was changed"), std::string::npos) << started.error().why;
}

TEST(GroupTest, AMemberWhoseStateDiffersIsStoppedAndMadeAnew) {
  GroupWorld cluster(36);
  cluster.form();
  cluster.world.runFor(SECOND);
  std::string odd = cluster.leader() == "m2" ? "m3" : "m2";
  cluster.crash(odd);
  cluster.twistState(odd);
  ASSERT_TRUE(cluster.start(odd).ok());
  for (int i = 0; i < 100; i++) {
    cluster.writeSomehow("session " + std::to_string(i));
  }
  ASSERT_TRUE(cluster.world.runUntil([&] { return !cluster.fatal(odd).empty(); }, 30 * SECOND));
  EXPECT_NE(cluster.fatal(odd).find("differs"), std::string::npos) << cluster.fatal(odd);
  for (const auto& name : cluster.names()) {
    EXPECT_TRUE(name == odd || cluster.fatal(name).empty()) << cluster.fatal(name);
  }
  cluster.crash(odd);
  ASSERT_TRUE(cluster.start(odd).ok());
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(odd, "session 99"));
}

TEST(GroupTest, ACutOffLeaderAcknowledgesNothingAndReadsNothing) {
  GroupWorld cluster(5);
  cluster.form();
  std::string old = cluster.leader();
  ASSERT_TRUE(cluster.world.runUntil([&] { return cluster.replica(old).isCurrent(); }, SECOND));
  cluster.world.network().isolate(old);
  cluster.world.runFor(31 * MILLISECOND);
  EXPECT_FALSE(cluster.replica(old).isCurrent()) << "its lease is over";
  EXPECT_TRUE(cluster.replica(old).isLeader());
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

// What its own log still holds in their place is of no use to the state.
TEST(GroupTest, NothingIsAppliedBeforeItReplacesWhatAnEarlierLeaderHadLeft) {
  GroupWorld cluster(39);
  cluster.form();
  std::string old = cluster.leader();
  cluster.world.network().isolate(old);
  std::vector<kj::Promise<void>> lost;
  for (uint64_t i = 1; i <= 10; i++) {
    auto fill = [i](wire::Command::Builder command) { command.initOpenSession().initNonce().setLow(1000 + i); };
    auto proposed = propose(cluster.replica(old), fill).promise();
    lost.push_back(kj::mv(proposed).ignoreResult().eagerlyEvaluate(nullptr));
  }
  cluster.world.runFor(50 * MILLISECOND);
  lost.clear();
  cluster.crash(old);
  cluster.writeSomehow("by the new one");
  ASSERT_TRUE(cluster.start(old).ok());
  const LogIndex before = cluster.group(old).status().commit;
  cluster.world.network().rejoin(old);
  // It has the new term on its disk, and says so: now it is sent what replaces its own.
  auto isBack = [&] {
    auto leader = cluster.leaderNow();
    auto members = leader.empty() ? std::vector<GroupMember>() : cluster.group(leader).status().members;
    auto reachable = [](const GroupMember& member) { return member.reachable; };
    return !members.empty() && std::all_of(members.begin(), members.end(), reachable);
  };
  ASSERT_TRUE(cluster.world.runUntil(isBack, 15 * SECOND));
  cluster.world.volume(old).stallUntil(cluster.world.clock().monotonic() + 20 * SECOND);
  auto isTold = [&] { return cluster.group(old).status().commit > next(before); };
  ASSERT_TRUE(cluster.world.runUntil(isTold, 15 * SECOND));
  cluster.world.runFor(SECOND);
  EXPECT_FALSE(cluster.has(old, "by the new one")) << "its log doesn't have it yet";
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(old, "by the new one"));
}

// As long as somebody asks, and without a wait.
TEST(GroupTest, ALeaderKeepsItsLeaseWhileThereAreReaders) {
  GroupWorld cluster(37);
  cluster.form();
  std::string leader = cluster.leader();
  ASSERT_TRUE(cluster.world.runUntil([&] { return cluster.replica(leader).isCurrent(); }, SECOND));
  for (int i = 0; i < 1000; i++) {
    cluster.world.runFor(MILLISECOND);
    ASSERT_TRUE(cluster.replica(leader).isCurrent()) << "after " << i << " ms";
  }
  for (const auto& name : cluster.names()) {
    EXPECT_TRUE(name == leader || !cluster.replica(name).isCurrent()) << name;
  }
}

TEST(GroupTest, ALeaderWhoseDiskStandsStillHandsOver) {
  GroupWorld cluster(38);
  cluster.form();
  std::string old = cluster.leader();
  Nanos began = cluster.world.clock().monotonic();
  cluster.world.volume(old).stallUntil(began + 20 * SECOND);
  cluster.writeSomehow("while the disk of the one stands still");
  EXPECT_LT(cluster.world.clock().monotonic() - began, 2 * SECOND);
  EXPECT_NE(cluster.leaderNow(), old);
  cluster.world.runFor(30 * SECOND);
  EXPECT_NE(cluster.leaderNow(), old);
  cluster.expectEqual();
  EXPECT_TRUE(cluster.has(old, "while the disk of the one stands still"));
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

// Its connections break, which tells the others sooner than its silence.
TEST(GroupTest, ADeadLeaderIsReplacedBeforeATimeout) {
  GroupWorld cluster(12);
  cluster.form();
  for (int i = 0; i < 5; i++) {
    std::string old = cluster.leader();
    cluster.crash(old);
    Nanos began = cluster.world.clock().monotonic();
    EXPECT_NE(cluster.leader(), old);
    EXPECT_LT(cluster.world.clock().monotonic() - began, 200 * MILLISECOND) << "less than an election timeout";
    ASSERT_TRUE(cluster.start(old).ok());
    cluster.expectEqual();
  }
}

TEST(GroupTest, ABrokenConnectionDeposesNobody) {
  GroupWorld cluster(13);
  cluster.form();
  std::string leader = cluster.leader();
  Term term = cluster.replica(leader).term();
  for (const auto& name : cluster.names()) {
    if (name != leader) {
      cluster.world.network().reset(leader, name);
      cluster.world.runFor(SECOND);
    }
  }
  EXPECT_EQ(cluster.leaderNow(), leader);
  EXPECT_EQ(cluster.replica(leader).term(), term);
  cluster.writeSomehow("as before");
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

TEST(GroupTest, P3_ACopiedDirectoryIsNotLetInUnderItsOldName) {
  GroupWorld cluster(10);
  cluster.form();
  cluster.crash("m2");
  cluster.copyDirectory("m2");
  auto refused = cluster.start("m2");
  EXPECT_EQ(refused.code(), ESTALE);
  EXPECT_NE(refused.error().why.find("dfsadmin raft remove m2"), std::string::npos) << refused.error().why;
  EXPECT_EQ(cluster.start("m2").code(), ESTALE) << "and it stays so";
  cluster.replaceDisk("m2");
  ASSERT_TRUE(cluster.start("m2", false, true).ok());
  cluster.writeSomehow("by whoever leads now");
  auto removed = cluster.world.await(cluster.group(cluster.leader()).remove("m2"), GroupWorld::LIMIT);
  EXPECT_TRUE(removed.ok()) << removed.error().why;
  EXPECT_TRUE(cluster.world.runUntil([&] { return cluster.group("m2").hasJoined(); }, GroupWorld::LIMIT));
}

TEST(GroupTest, ALoneMasterMayMove) {
  GroupWorld cluster(11, 1);
  cluster.form();
  cluster.writeSomehow("before");
  cluster.stop("m1");
  for (int moves = 0; moves < 2; ++moves) {
    cluster.copyDirectory("m1");
    auto started = cluster.start("m1");
    ASSERT_TRUE(started.ok()) << started.error().why;
    cluster.writeSomehow("after");
    EXPECT_TRUE(cluster.has("m1", "before"));
    cluster.stop("m1");
  }
}

TEST(GroupTest, WhoOnlyWaitsToJoinIsNoGroupYet) {
  GroupWorld cluster(9);
  ASSERT_TRUE(cluster.start("m2", false, true).ok());
  ASSERT_TRUE(cluster.start("m3", false, true).ok());
  cluster.world.runFor(SECOND);
  auto founded = cluster.start("m1", true, false);
  ASSERT_TRUE(founded.ok()) << founded.error().why;
  auto joined = [&] { return cluster.group("m2").hasJoined() && cluster.group("m3").hasJoined(); };
  EXPECT_TRUE(cluster.world.runUntil(joined, GroupWorld::LIMIT));
  cluster.writeSomehow("three");
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

TEST(GroupTest, TheDeadDoNotCountRightAfterAFailOver) {
  GroupWorld cluster(40);
  cluster.form();
  std::string dead = cluster.leader();
  cluster.crash(dead);
  std::string now = cluster.leader();
  std::string third;
  for (const auto& name : cluster.names()) {
    third = name != dead && name != now ? name : third;
  }
  auto removed = cluster.world.await(cluster.group(now).remove(third), GroupWorld::LIMIT);
  EXPECT_EQ(removed.code(), EBUSY);
  EXPECT_NE(removed.error().why.find("no majority"), std::string::npos) << removed.error().why;
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
