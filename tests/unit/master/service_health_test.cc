#include <gtest/gtest.h>

#include "master/health.h"
#include "tests/unit/master/placement_world.h"

namespace cairn {
namespace {

Health healthOf(PlacementWorld& world) {
  HealthInput input{world.map, *world.roster};
  input.serversWanted = world.rules.firstServers;
  input.now = world.now;
  return assess(input);
}

const Reason* find(const Health& health, const std::string& code) {
  for (auto& reason : health.reasons) {
    if (reason.code == code) {
      return &reason;
    }
  }
  return nullptr;
}

TEST(Health, CriticalUntilPlacedThenHealthy) {
  PlacementWorld world(1);
  world.start(0);
  world.turn();
  auto before = healthOf(world);
  EXPECT_STREQ(before.level(), "critical");
  ASSERT_NE(find(before, "waiting-for-servers"), nullptr);
  EXPECT_NE(find(before, "waiting-for-servers")->text.find("3 chunkservers"), std::string::npos);
  world.startAll();
  world.turn();
  auto after = healthOf(world);
  EXPECT_STREQ(after.level(), "healthy");
  EXPECT_EQ(after.shards.healthy, 16);
}

TEST(Health, AServerThatIsDownIsNamedWithItsTime) {
  PlacementWorld world(2);
  world.startAll();
  world.turn();
  world.kill(1);
  world.pass(30 * SECOND);
  auto health = healthOf(world);
  EXPECT_STREQ(health.level(), "degraded");
  ASSERT_NE(find(health, "server-down"), nullptr);
  EXPECT_NE(find(health, "server-down")->text.find("chunkserver c2"), std::string::npos);
  EXPECT_NE(find(health, "server-down")->text.find("28 s"), std::string::npos) << find(health, "server-down")->text;
  EXPECT_NE(find(health, "copies-missing"), nullptr);
  EXPECT_EQ(health.shards.degraded, 16);
  world.start(1);
  world.turn();
  EXPECT_EQ(find(healthOf(world), "server-down"), nullptr);
  EXPECT_EQ(healthOf(world).shards.joining, 16);
  EXPECT_STREQ(healthOf(world).level(), "degraded") << "until all copies are in sync";
  world.catchUpAll();
  world.turn();
  EXPECT_STREQ(healthOf(world).level(), "healthy");
}

TEST(Health, AMasterThatIsMissingIsNamedWithWhatMayStillFail) {
  PlacementWorld world(5);
  world.startAll();
  world.turn();
  HealthInput input{world.map, *world.roster};
  auto add = [&](const char* name, bool isMember, bool isVoter, bool answers) {
    input.masters.push_back({name, std::string(name) + ":1", isMember, isVoter, answers});
  };
  add("m1", true, true, true);
  add("m2", true, true, true);
  add("m3", true, true, true);
  EXPECT_STREQ(assess(input).level(), "healthy");
  input.masters[1].answers = false;
  auto down = assess(input);
  EXPECT_STREQ(down.level(), "degraded");
  ASSERT_NE(find(down, "master-down"), nullptr);
  EXPECT_EQ(find(down, "master-down")->text, "master m2 at m2:1 does not answer: no other may fail");
  EXPECT_NE(find(down, "master-down")->action.find("dfsadmin raft remove m2"), std::string::npos);
  add("m4", true, true, true);
  add("m5", true, true, true);
  EXPECT_EQ(find(assess(input), "master-down")->text, "master m2 at m2:1 does not answer: 1 more may fail");
  input.masters[1] = {"m2", "m2:1", false, false, false};
  ASSERT_NE(find(assess(input), "master-missing"), nullptr);
  EXPECT_NE(find(assess(input), "master-missing")->action.find("--join"), std::string::npos);
  input.masters[1] = {"m2", "m2:1", true, false, true};
  ASSERT_NE(find(assess(input), "master-joining"), nullptr);
}

TEST(Health, OneCopyStopsWritesAndNoneStopsReads) {
  PlacementWorld world(3);
  world.startAll();
  world.turn();
  world.kill(0);
  world.kill(1);
  world.pass(10 * SECOND);
  auto one = healthOf(world);
  EXPECT_STREQ(one.level(), "critical");
  EXPECT_NE(find(one, "writes-wait"), nullptr);
  EXPECT_EQ(one.shards.atRisk, 16);
  world.kill(2);
  world.pass(10 * SECOND);
  auto none = healthOf(world);
  EXPECT_NE(find(none, "shards-unavailable"), nullptr);
  EXPECT_TRUE(none.reasons.front().critical);
  EXPECT_EQ(none.shards.unavailable, 16);
}

TEST(Health, BadBlocksFailedVolumesAndSpaceAreTold) {
  PlacementWorld world(4);
  world.startAll();
  world.turn();
  auto state = world.machines[0].volumes[0];
  state.badBlocks = 3;
  world.roster->reportVolume(world.machines[0].record.id, state, world.now);
  auto bad = healthOf(world);
  EXPECT_STREQ(bad.level(), "degraded");
  ASSERT_NE(find(bad, "bad-blocks"), nullptr);
  EXPECT_NE(find(bad, "bad-blocks")->text.find("3 blocks"), std::string::npos);
  for (uint64_t percent : {89, 90, 94, 95, 99}) {
    for (auto& machine : world.machines) {
      auto full = machine.volumes[0];
      full.usedBytes = full.totalBytes / 100 * percent + 100;
      world.roster->reportVolume(machine.record.id, full, world.now);
    }
    auto health = healthOf(world);
    EXPECT_EQ(find(health, "space-low") != nullptr, percent >= 90 && percent < 95) << percent;
    EXPECT_EQ(find(health, "space-full") != nullptr, percent >= 95) << percent;
    EXPECT_EQ(find(health, "volume-full") != nullptr, percent >= 95) << percent;
  }
  auto failed = world.machines[2].volumes[0];
  failed.usable = false;
  failed.why = "input/output error";
  world.roster->reportVolume(world.machines[2].record.id, failed, world.now);
  world.turn();
  ASSERT_NE(find(healthOf(world), "volume-failed"), nullptr);
  EXPECT_NE(find(healthOf(world), "volume-failed")->text.find("input/output error"), std::string::npos);
}

}  // namespace
}  // namespace cairn
