#include "master/placement/targets.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/master/placement_world.h"

namespace cairn {
namespace {

using TargetMap = std::map<ShardId, std::set<VolumeNumber>>;

TargetMap targetsOf(const ShardMap& map) {
  TargetMap out;
  for (auto& [id, shard] : map.shards) {
    out[id] = std::set<VolumeNumber>(shard.target.begin(), shard.target.end());
  }
  return out;
}

size_t holders(const ShardMap& map, VolumeNumber volume) {
  return std::count_if(map.shards.begin(), map.shards.end(),
                       [volume](auto& item) { return isUsed(item.second, volume); });
}

size_t joining(const ShardMap& map) {
  size_t count = 0;
  for (auto& [id, shard] : map.shards) {
    count += shard.joining.size();
  }
  return count;
}

// Replicas of `after` that `before` lacks.
size_t moved(const TargetMap& before, const TargetMap& after) {
  size_t count = 0;
  for (auto& [id, target] : after) {
    for (VolumeNumber volume : target) {
      count += before.at(id).count(volume) == 0;
    }
  }
  return count;
}

class Moving : public PlacementWorld {
 public:
  Moving(uint64_t seed, uint32_t servers, uint8_t shardBits = 6) : PlacementWorld(seed, servers, shardBits) {
    startAll();
    pass(rules.settleDelay + SECOND);
  }

  // Copies are made at once; until nothing joins any more, and for a while after that.
  void copyAll(Nanos quiet = 2 * SECOND) {
    Nanos still = now + quiet;
    for (Nanos end = now + 600 * SECOND; now < end && now < still;) {
      copyOnce();
      still = joining(map) > 0 ? now + quiet : still;
    }
    EXPECT_EQ(joining(map), 0u);
  }
  void copyOnce() {
    catchUpAll();
    turn();
    caughtUp.clear();
  }
  void setState(size_t machine, wire::ServerState state, uint32_t seconds = 0) {
    ServerRecord record = map.servers.at(machines[machine].record.id);
    record.state = state;
    record.maintenanceSeconds = seconds;
    apply({{record}, {}, {}, {}});
  }
  // As its heartbeats say.
  void report(size_t machine, bool noRoom) {
    for (auto volume : machines[machine].volumes) {
      volume.noRoom = noRoom;
      roster->reportVolume(machines[machine].record.id, volume, now);
    }
  }
  wire::ServerState state(size_t machine) const { return map.servers.at(machines[machine].record.id).state; }
  size_t live(const ShardRecord& shard) const {
    return std::count_if(shard.inSync.begin(), shard.inSync.end(),
                         [this](VolumeNumber v) { return machineOf(v).running; });
  }
};

TEST(Targets, ALostServersCopiesAreMadeElsewhereAndOnlyThose) {
  Moving world(1, 6);
  auto before = targetsOf(world.map);
  VolumeNumber lost = world.volumeOf(0);
  world.kill(0);
  world.pass(world.rules.repairDelay - SECOND);
  EXPECT_TRUE(targetsOf(world.map) == before) << "it may come back";
  world.pass(3 * SECOND);
  EXPECT_GT(joining(world.map), 0u) << "not started in time";
  EXPECT_EQ(world.state(0), wire::ServerState::DEAD);
  world.copyAll();
  EXPECT_EQ(holders(world.map, lost), 0u);
  EXPECT_TRUE(world.allInSync());
  for (auto& [id, target] : targetsOf(world.map)) {
    auto kept = before.at(id);
    kept.erase(lost);
    EXPECT_EQ(target.size(), 3u);
    EXPECT_TRUE(std::includes(target.begin(), target.end(), kept.begin(), kept.end())) << "moved without need";
  }
}

TEST(Targets, ANewServerGetsItsShareAndLittleElseMoves) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Moving world(seed, 3 + seed, 8);
    auto before = targetsOf(world.map);
    world.addServer(1);
    world.start(world.machines.size() - 1);
    world.pass(world.rules.settleDelay - SECOND);
    EXPECT_TRUE(targetsOf(world.map) == before) << "it may go again at once";
    world.pass(2 * SECOND);
    world.copyAll();
    EXPECT_TRUE(world.allInSync());
    size_t servers = world.machines.size();
    double share = 3.0 * 256 / servers;
    EXPECT_LE(moved(before, targetsOf(world.map)), 1.25 * share);
    for (size_t i = 0; i < servers; ++i) {
      EXPECT_NEAR(holders(world.map, world.volumeOf(i)), share, 0.1 * share + 1) << "server " << i;
    }
  }
}

TEST(Targets, NeverFewerCopiesWhileMoving) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Moving world(seed, 5);
    world.addServer(1);
    world.start(5);
    world.pass(world.rules.settleDelay);
    for (int i = 0; i < 400; ++i) {
      if (i == 20) {
        world.setState(seed % 5, wire::ServerState::DRAINING);
      }
      world.catchUpAll();
      std::erase_if(world.caughtUp, [&](auto&) { return world.random.below(3) > 0; });
      world.turn();
      for (auto& [id, shard] : world.map.shards) {
        ASSERT_GE(shard.inSync.size(), 3u) << "shard " << raw(id) << " in step " << i;
      }
    }
    EXPECT_EQ(world.state(seed % 5), wire::ServerState::DRAINED);
    EXPECT_EQ(holders(world.map, world.volumeOf(seed % 5)), 0u);
  }
}

// It has its lease, and would answer reads with what the others have overwritten.
TEST(Targets, WhoIsNotWantedLeavesOnlyWhenItHasHeardSo) {
  Moving world(14, 5);
  VolumeNumber leaver = world.volumeOf(1);
  size_t had = holders(world.map, leaver);
  auto leaving = world.machines[1].record.id;
  world.hearsMap = [&](auto& machine) { return machine.record.id != leaving; };
  world.setState(1, wire::ServerState::DRAINING);
  for (int i = 0; i < 100; ++i) {
    world.copyOnce();
  }
  size_t waiting = 0;
  for (auto& [id, shard] : world.map.shards) {
    if (shard.isInSync(leaver)) {
      ++waiting;
      EXPECT_EQ(shard.inSync.size(), 4u) << "all who are wanted are in sync";
      EXPECT_NE(shard.primary, leaver) << "it leads no more";
    }
  }
  EXPECT_EQ(waiting, had);
  EXPECT_EQ(world.state(1), wire::ServerState::DRAINING);
  world.hearsMap = [](auto&) { return true; };
  world.copyAll();
  EXPECT_EQ(world.state(1), wire::ServerState::DRAINED);
}

TEST(Targets, WithNobodyToTakeItADrainedServerKeepsItsCopies) {
  Moving world(2, 3);
  world.setState(0, wire::ServerState::DRAINING);
  world.copyAll();
  EXPECT_EQ(world.state(0), wire::ServerState::DRAINING);
  EXPECT_EQ(holders(world.map, world.volumeOf(0)), world.map.shards.size());
  EXPECT_TRUE(world.allInSync());
}

TEST(Targets, WhatFindsNoRoomGoesElsewhere) {
  Moving world(21, 5, 8);
  world.kill(0);
  world.pass(world.rules.repairDelay + 2 * SECOND);
  VolumeNumber full = world.volumeOf(1);
  auto joins = [&] {
    return std::count_if(world.map.shards.begin(), world.map.shards.end(),
                         [&](auto& item) { return item.second.isJoining(full); });
  };
  ASSERT_GT(joins(), 0);
  size_t held = holders(world.map, full) - joins();
  world.report(1, true);
  for (int i = 0; i < 200; ++i) {
    world.catchUpAll();
    std::erase_if(world.caughtUp, [&](auto& claim) { return claim.volume == full; });
    world.turn();
    world.caughtUp.clear();
  }
  EXPECT_EQ(joins(), 0) << "others take them";
  EXPECT_EQ(holders(world.map, full), held) << "what is in sync stays";
  EXPECT_TRUE(world.allInSync());
  world.report(1, false);
  world.copyAll();
  EXPECT_EQ(holders(world.map, full), held) << "nothing comes back at once";
}

TEST(Targets, WithoutRoomAnywhereAJoinStaysAndWaits) {
  Moving world(22, 3);
  world.kill(0);
  world.restartMaster();
  world.pass(SECOND);
  world.start(0);
  world.turn();
  ASSERT_GT(joining(world.map), 0u);
  auto before = targetsOf(world.map);
  world.report(0, true);
  world.pass(10 * SECOND);
  EXPECT_TRUE(targetsOf(world.map) == before);
  EXPECT_GT(joining(world.map), 0u);
  world.report(0, false);
  world.copyAll();
  EXPECT_TRUE(world.allInSync());
}

TEST(Targets, JoinsStayWithinTheirBounds) {
  Moving world(3, 6, 9);
  world.kill(0);
  world.pass(world.rules.repairDelay);
  bool any = false;
  for (int i = 0; i < 200; ++i) {
    std::map<VolumeNumber, uint32_t> joins;
    std::map<VolumeNumber, uint32_t> sources;
    for (auto& [id, shard] : world.map.shards) {
      for (VolumeNumber volume : shard.joining) {
        ++joins[volume];
        any = true;
      }
      sources[shard.primary] += shard.joining.size();
    }
    for (auto& [volume, count] : joins) {
      ASSERT_LE(count, JOINS_OF_VOLUME_MAX);
    }
    for (auto& [volume, count] : sources) {
      ASSERT_LE(count, 2 * JOINS_OF_VOLUME_MAX) << "primaries change when a join ends";
    }
    world.copyOnce();
  }
  EXPECT_TRUE(any);
  EXPECT_TRUE(world.allInSync());
}

TEST(Targets, ShardsWithOneCopyGoFirst) {
  Moving world(4, 7, 10);
  world.kill(0);
  world.pass(world.rules.repairDelay + 2 * SECOND);
  world.kill(1);
  world.pass(world.rules.repairDelay + 4 * SECOND);
  std::set<ShardId> oneCopy;
  for (auto& [id, shard] : world.map.shards) {
    if (shard.joining.empty() && world.live(shard) == 1) {
      oneCopy.insert(id);
    }
  }
  ASSERT_GT(oneCopy.size(), 20u);
  size_t early = 0;  // shards with two copies that began while one with one copy still waited
  size_t late = 0;
  auto left = oneCopy;
  for (int i = 0; i < 400; ++i) {
    auto before = world.map;
    world.copyOnce();
    for (auto& [id, shard] : world.map.shards) {
      bool began = before.shards.at(id).joining.empty() && !shard.joining.empty();
      if (began && oneCopy.contains(id)) {
        left.erase(id);
      } else if (began) {
        ++(left.empty() ? late : early);
      }
    }
  }
  EXPECT_TRUE(left.empty());
  EXPECT_TRUE(world.allInSync());
  EXPECT_LT(early, late) << "the others waited";
}

TEST(Targets, WhatCameBackInTimeStays) {
  Moving world(5, 6, 9);
  VolumeNumber back = world.volumeOf(0);
  size_t had = holders(world.map, back);
  world.kill(0);
  world.pass(world.rules.repairDelay + 3 * SECOND);  // moving has begun, nothing is copied yet
  size_t under = joining(world.map);
  ASSERT_GT(under, 0u);
  world.start(0);
  world.turn();
  EXPECT_GE(holders(world.map, back), had - under) << "what wasn't begun stays";
  world.copyAll(70 * SECOND);
  EXPECT_TRUE(world.allInSync());
  EXPECT_EQ(world.state(0), wire::ServerState::IN_SERVICE);
  EXPECT_GE(holders(world.map, back), had - under);
}

TEST(Targets, AFlappingServerMovesNothing) {
  Moving world(6, 5);
  auto before = targetsOf(world.map);
  for (int i = 0; i < 18; ++i) {
    world.kill(0);
    world.pass(5 * SECOND);
    world.start(0);
    for (Nanos end = world.now + 5 * SECOND; world.now < end;) {
      world.copyOnce();
    }
    ASSERT_TRUE(targetsOf(world.map) == before) << "round " << i;
  }
  world.kill(0);
  world.pass(world.rules.repairDelay + 5 * SECOND);
  EXPECT_TRUE(targetsOf(world.map) == before) << "it has twice as long";
  world.pass(world.rules.repairDelay);
  EXPECT_FALSE(targetsOf(world.map) == before);
}

TEST(Targets, ACrowdThatIsGoneAtOnceIsWaitedFor) {
  Moving world(7, 6);
  auto before = targetsOf(world.map);
  for (size_t i = 0; i < 4; ++i) {
    world.kill(i);
  }
  world.pass(300 * SECOND);
  EXPECT_TRUE(targetsOf(world.map) == before);
  auto standings = judge(world.map, *world.roster, world.rules, world.now);
  EXPECT_EQ(standings.spared.size(), 4u);
  EXPECT_EQ(world.state(0), wire::ServerState::IN_SERVICE);
  world.start(0);
  world.start(1);
  world.copyAll(2 * world.rules.repairDelay);
  EXPECT_TRUE(world.allInSync()) << "two of six are repaired";
  EXPECT_EQ(holders(world.map, world.volumeOf(3)), 0u);
}

// While most were gone nobody could be looked after: whoever isn't back yet when that ends may be just about to come.
TEST(Targets, WhoStaysAwayWhenACrowdIsBackHasTheWholeDelayFromThenOn) {
  Moving world(7, 6);
  auto before = targetsOf(world.map);
  for (size_t i = 0; i < 4; ++i) {
    world.kill(i);
  }
  world.pass(300 * SECOND);
  world.start(0);
  world.start(1);
  world.pass(world.rules.repairDelay - SECOND);
  EXPECT_EQ(world.state(2), wire::ServerState::IN_SERVICE) << "the rest of a crowd was given up at once";
  EXPECT_TRUE(targetsOf(world.map) == before);
  world.pass(3 * SECOND);
  EXPECT_EQ(world.state(2), wire::ServerState::DEAD);
  world.copyAll(3 * world.rules.settleDelay);
  EXPECT_TRUE(world.allInSync());
}

// Of two servers one loses a volume, and the other volume of it takes over: what it replaces isn't kept beside it,
// though there are fewer servers than copies.
TEST(Targets, TwoVolumesOfOneServerNeverHoldCopiesOfOneShard) {
  PlacementWorld world(21, 2);
  world.machines[0].volumes.push_back({world.random.uuid<VolumeId>(), uint64_t{1} << 40});
  world.startAll();
  world.pass(world.rules.settleDelay + SECOND);
  auto serversOf = [&](const std::vector<VolumeNumber>& volumes) {
    std::set<ServerId> servers;
    for (VolumeNumber volume : volumes) {
      servers.insert(world.map.serverOf(volume)->id);
    }
    return servers.size();
  };
  auto state = world.machines[0].volumes[0];
  state.usable = false;
  world.roster->reportVolume(world.machines[0].record.id, state, world.now);
  VolumeNumber bad{};
  for (auto& [number, volume] : world.map.volumes) {
    bad = volume.id == state.id ? number : bad;
  }
  ASSERT_GT(holders(world.map, bad), 0u);
  world.pass(world.rules.repairDelay + SECOND);
  for (int i = 0; i < 50; ++i) {
    world.catchUpAll();
    world.turn();
    world.caughtUp.clear();
    for (auto& [id, shard] : world.map.shards) {
      EXPECT_EQ(serversOf(shard.target), shard.target.size()) << "shard " << raw(id);
    }
  }
  EXPECT_EQ(holders(world.map, bad), 0u);
  for (auto& [id, shard] : world.map.shards) {
    EXPECT_EQ(serversOf(shard.inSync), shard.inSync.size());
  }
}

TEST(Targets, MaintenanceStopsTheDelayUntilItEnds) {
  Moving world(8, 5);
  auto before = targetsOf(world.map);
  world.setState(0, wire::ServerState::MAINTENANCE, 120);
  world.turn();
  world.kill(0);
  world.pass(118 * SECOND);
  EXPECT_TRUE(targetsOf(world.map) == before);
  world.pass(4 * SECOND);
  EXPECT_EQ(world.state(0), wire::ServerState::IN_SERVICE);
  EXPECT_TRUE(targetsOf(world.map) == before) << "the delay begins at the end of maintenance";
  world.pass(world.rules.repairDelay);
  EXPECT_FALSE(targetsOf(world.map) == before);
}

TEST(Targets, AStopInGoodOrderIsMaintenanceUntilItIsBack) {
  Moving world(9, 5);
  auto before = targetsOf(world.map);
  world.leave(0);
  world.pass(100 * SECOND);
  EXPECT_EQ(world.state(0), wire::ServerState::MAINTENANCE);
  EXPECT_TRUE(targetsOf(world.map) == before);
  world.start(0);
  world.copyAll();
  EXPECT_EQ(world.state(0), wire::ServerState::IN_SERVICE);
  EXPECT_TRUE(world.allInSync());
}

TEST(Targets, WhoStoppedInGoodOrderAndStaysAwayIsGivenUp) {
  Moving world(9, 5);
  auto before = targetsOf(world.map);
  world.leave(0);
  world.pass(STOPPED_SECONDS * SECOND + world.rules.repairDelay + 2 * SECOND);
  EXPECT_EQ(world.state(0), wire::ServerState::DEAD);
  EXPECT_FALSE(targetsOf(world.map) == before);
}

TEST(Targets, AFailedVolumesCopiesMove) {
  Moving world(10, 5);
  VolumeNumber bad = world.volumeOf(0);
  auto state = world.machines[0].volumes[0];
  state.usable = false;
  world.roster->reportVolume(world.machines[0].record.id, state, world.now);
  world.pass(world.rules.repairDelay + SECOND);
  world.copyAll();
  EXPECT_EQ(holders(world.map, bad), 0u);
  EXPECT_EQ(world.state(0), wire::ServerState::IN_SERVICE) << "the server itself is here";
}

TEST(Targets, TheSameInputGivesTheSamePlan) {
  Moving world(11, 6, 9);
  world.kill(2);
  world.pass(world.rules.repairDelay + 2 * SECOND);
  auto standings = judge(world.map, *world.roster, world.rules, world.now);
  Targets once, again;
  auto first = once.plan(world.map, standings);
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(again.plan(world.map, standings), first);
  EXPECT_EQ(once.plan(world.map, standings), first);
}

TEST(Targets, AMasterThatTakesOverGoesOn) {
  Moving world(12, 6, 9);
  world.kill(0);
  world.pass(world.rules.repairDelay + 2 * SECOND);
  world.restartMaster();
  world.copyAll(world.rules.repairDelay);
  EXPECT_TRUE(world.allInSync());
  EXPECT_EQ(holders(world.map, world.volumeOf(0)), 0u);
}

}  // namespace
}  // namespace cairn
