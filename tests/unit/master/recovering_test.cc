// A group begun anew from one survivor: nothing that its log has is lost, and nobody of the old group counts any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/master/group_world.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Lost {
  explicit Lost(uint64_t seed) : cluster(seed) {
    cluster.form();
    cluster.writeSomehow("seen by all");
    cluster.expectEqual();
    survivor = cluster.leader() == "m1" ? "m2" : "m1";
    for (const auto& name : cluster.names()) {
      if (name != survivor) {
        others.push_back(name);
      }
    }
  }
  void crashAll() {
    for (const auto& name : cluster.names()) {
      if (cluster.running(name)) {
        cluster.crash(name);
      }
    }
  }
  GroupEpoch recover() {
    auto plan = cluster.planRecovery(survivor);
    EXPECT_TRUE(plan.ok()) << plan.error().why;
    auto epoch = cluster.recover(survivor, plan.value().id);
    EXPECT_TRUE(epoch.ok()) << epoch.error().why;
    return epoch.value();
  }

  GroupWorld cluster;
  std::string survivor;
  std::vector<std::string> others;
};

TEST(Recovering, OneSurvivorGoesOnWithAllThatItsLogHas) {
  Lost lost(1);
  lost.crashAll();
  auto plan = lost.cluster.planRecovery(lost.survivor);
  ASSERT_TRUE(plan.ok()) << plan.error().why;
  EXPECT_EQ(plan.value().others, lost.others);
  EXPECT_TRUE(plan.value().votes);
  EXPECT_LE(plan.value().committed, plan.value().last.index);
  EXPECT_GT(plan.value().time.nanos + static_cast<uint64_t>(plan.value().time.seconds), 0u);
  EXPECT_EQ(lost.cluster.planRecovery(lost.survivor).value().id, plan.value().id) << "a plan changes nothing";
  EXPECT_EQ(lost.cluster.recover(lost.survivor, "00000000").code(), ESTALE);

  GroupEpoch epoch = lost.recover();
  EXPECT_GT(epoch, GroupEpoch{});
  EXPECT_EQ(lost.cluster.recover(lost.survivor, plan.value().id).code(), ESTALE) << "it is another directory now";
  ASSERT_TRUE(lost.cluster.start(lost.survivor).ok());
  EXPECT_EQ(lost.cluster.leader(), lost.survivor);
  EXPECT_TRUE(lost.cluster.has(lost.survivor, "seen by all"));
  lost.cluster.writeSomehow("alone");
  EXPECT_EQ(lost.cluster.replica(lost.survivor).reader().groupEpoch(), epoch);
  EXPECT_EQ(lost.cluster.group(lost.survivor).status().members.size(), 1u);
}

TEST(Recovering, WhatTheOthersAcknowledgedWithoutItIsLostAndItsNumbersAreNotUsedAgain) {
  Lost lost(2);
  lost.cluster.crash(lost.survivor);
  lost.cluster.writeSomehow("lost");
  SessionId given = lost.cluster.replica(lost.cluster.leader()).reader().sessions().back().id;
  lost.crashAll();
  lost.recover();
  ASSERT_TRUE(lost.cluster.start(lost.survivor).ok());
  lost.cluster.writeSomehow("new");
  EXPECT_FALSE(lost.cluster.has(lost.survivor, "lost"));
  EXPECT_GT(lost.cluster.replica(lost.survivor).reader().sessions().back().id, given);
}

TEST(Recovering, TheReplacedGroupEndsWhenItMeetsTheNewOne) {
  Lost lost(3);
  lost.crashAll();
  GroupEpoch epoch = lost.recover();
  for (const auto& name : lost.others) {  // their cluster.toml is the old one, and they are a majority
    ASSERT_TRUE(lost.cluster.start(name).ok());
  }
  lost.cluster.writeSomehow("void");
  ASSERT_TRUE(lost.cluster.start(lost.survivor).ok());
  auto ended = [&](const std::string& name) { return !lost.cluster.fatal(name).empty(); };
  auto bothEnded = [&] { return ended(lost.others[0]) && ended(lost.others[1]); };
  ASSERT_TRUE(lost.cluster.world.runUntil(bothEnded, GroupWorld::LIMIT));
  for (const auto& name : lost.others) {
    EXPECT_THAT(lost.cluster.fatal(name), HasSubstr("master " + name + " is of the group as it was before"));
    EXPECT_THAT(lost.cluster.fatal(name), HasSubstr("--join"));
    lost.cluster.crash(name);
  }
  lost.cluster.noteEpoch(epoch);
  EXPECT_EQ(lost.cluster.start(lost.others[0]).code(), ESTALE) << "its cluster.toml knows better";
  EXPECT_EQ(lost.cluster.leader(), lost.survivor);
  EXPECT_FALSE(lost.cluster.has(lost.survivor, "void"));
}

TEST(Recovering, NewDirectoriesJoinAndAreOfTheNewEpochEvenAfterARestart) {
  Lost lost(4);
  lost.crashAll();
  GroupEpoch epoch = lost.recover();
  ASSERT_TRUE(lost.cluster.start(lost.survivor).ok());
  for (const auto& name : lost.others) {
    lost.cluster.replaceDisk(name);
    auto joined = lost.cluster.start(name, false, true);  // with the old cluster.toml
    ASSERT_TRUE(joined.ok()) << joined.error().why;
  }
  auto allVote = [&] {
    auto members = lost.cluster.group(lost.survivor).status().members;
    return members.size() == 3 && std::all_of(members.begin(), members.end(), [](auto& m) { return m.voter; });
  };
  ASSERT_TRUE(lost.cluster.world.runUntil(allVote, GroupWorld::LIMIT));
  lost.cluster.expectEqual();
  lost.cluster.noteEpoch(epoch);
  for (const auto& name : lost.others) {
    EXPECT_EQ(lost.cluster.group(name).epoch(), epoch);
    lost.cluster.powerCut(name);
    auto again = lost.cluster.start(name);
    EXPECT_TRUE(again.ok()) << again.error().why;
  }
  lost.cluster.writeSomehow("together");
  lost.cluster.expectEqual();
}

TEST(Recovering, OfTwoSurvivorsThatBothBeganAnewOneEnds) {
  Lost lost(5);
  lost.crashAll();
  GroupEpoch first = lost.recover();
  std::string other = lost.others[0];
  auto plan = lost.cluster.planRecovery(other);
  ASSERT_TRUE(plan.ok());
  auto second = lost.cluster.recover(other, plan.value().id);
  ASSERT_TRUE(second.ok()) << second.error().why;
  EXPECT_NE(first, second.value());
  ASSERT_TRUE(lost.cluster.start(lost.survivor).ok());
  ASSERT_TRUE(lost.cluster.start(other).ok());
  lost.cluster.world.runFor(5 * SECOND);  // neither knows the other as a member
  bool isFirst = first > second.value();
  EXPECT_EQ(lost.cluster.fatal(isFirst ? lost.survivor : other), "");
  EXPECT_THAT(lost.cluster.fatal(isFirst ? other : lost.survivor), HasSubstr("raft recover"));
}

TEST(Recovering, ARunningOrEmptyDirectoryIsRefused) {
  Lost lost(6);
  EXPECT_EQ(lost.cluster.planRecovery(lost.survivor).code(), EWOULDBLOCK);
  lost.crashAll();
  lost.cluster.replaceDisk(lost.survivor);
  EXPECT_EQ(lost.cluster.planRecovery(lost.survivor).code(), ENODATA);
}

TEST(Recovering, NumbersLeap) {
  TestNamespace ns;
  auto before = ns.make(ROOT_INODE, "a", S_IFREG | 0644).inode();
  auto version = ns.reader().map().version;
  auto applied = ns.apply([](wire::Command::Builder command) { command.setRecovered(raw(GroupEpoch{7})); });
  EXPECT_EQ(ns.outcome(applied), 0);
  EXPECT_EQ(ns.reader().groupEpoch(), GroupEpoch{7});
  constexpr uint64_t LEAP = uint64_t{1} << 32;
  EXPECT_EQ(raw(ns.make(ROOT_INODE, "b", S_IFREG | 0644).inode()), raw(before) + 1 + LEAP);
  EXPECT_EQ(raw(ns.reader().map().version), raw(version) + LEAP);
  EXPECT_GT(raw(ns.openSession("late", 99)), LEAP);
}

}  // namespace
}  // namespace cairn
