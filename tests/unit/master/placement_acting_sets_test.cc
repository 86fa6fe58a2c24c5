#include <gtest/gtest.h>

#include <algorithm>

#include "master/placement/acting_sets.h"
#include "tests/unit/master/placement_world.h"

namespace cairn {
namespace {

uint64_t epochs(const ShardMap& map) {
  uint64_t sum = 0;
  for (auto& [id, shard] : map.shards) {
    sum += raw(shard.epoch);
  }
  return sum;
}

std::map<VolumeNumber, uint32_t> primaries(const ShardMap& map) {
  std::map<VolumeNumber, uint32_t> out;
  for (auto& [id, shard] : map.shards) {
    ++out[shard.primary];
  }
  return out;
}

TEST(ActingSets, FirstPlacementWaitsForTheServersNamed) {
  PlacementWorld world(1);
  world.start(0);
  world.start(1);
  world.pass(SECOND);
  EXPECT_TRUE(world.map.shards.empty());
  EXPECT_EQ(world.map.servers.size(), 2);
  world.start(2);
  world.turn();
  ASSERT_EQ(world.map.shards.size(), 16);
  EXPECT_TRUE(world.allInSync());
  for (auto& [volume, count] : primaries(world.map)) {
    EXPECT_GE(count, 5) << "volume " << raw(volume);
  }
}

TEST(ActingSets, NothingHappensWhileNothingHappens) {
  PlacementWorld world(2);
  world.startAll();
  world.turn();
  auto version = world.map.version;
  world.pass(30 * SECOND);
  EXPECT_EQ(world.map.version, version);
}

TEST(ActingSets, AGoneMemberLeavesWhenItsLeaseHasRunOut) {
  PlacementWorld world(3);
  world.startAll();
  world.turn();
  auto before = epochs(world.map);
  world.kill(0);
  world.pass(REPLACE_AFTER - 200 * MILLISECOND);
  EXPECT_EQ(epochs(world.map), before) << "its lease may still run";
  world.pass(300 * MILLISECOND);
  EXPECT_EQ(epochs(world.map), before + 16);
  for (auto& [id, shard] : world.map.shards) {
    EXPECT_EQ(shard.inSync.size(), 2);
    EXPECT_TRUE(shard.isInSync(shard.primary));
    EXPECT_FALSE(shard.isInSync(world.volumeOf(0)));
    EXPECT_TRUE(shard.joining.empty());
    EXPECT_EQ(shard.target.size(), 3) << "the target stays: it may come back";
  }
  auto leads = primaries(world.map);
  EXPECT_EQ(leads[world.volumeOf(1)], 8);
  EXPECT_EQ(leads[world.volumeOf(2)], 8);
  EXPECT_FALSE(world.map.servers[world.machines[0].record.id].online);
}

TEST(ActingSets, LeavingInGoodOrderIsImmediate) {
  PlacementWorld world(4);
  world.startAll();
  world.turn();
  world.leave(0);
  world.turn(MILLISECOND);
  EXPECT_EQ(world.first().inSync.size(), 2);
}

TEST(ActingSets, ARestartedMemberJoinsAndIsPromotedAtItsEpochOnly) {
  PlacementWorld world(5);
  world.startAll();
  world.turn();
  world.kill(0);
  world.turn(10 * MILLISECOND);
  world.start(0);
  world.turn(10 * MILLISECOND);
  auto shard = world.first();
  EXPECT_EQ(shard.inSync.size(), 2) << "a new incarnation forces a new epoch though its lease never ran out";
  EXPECT_EQ(shard.epoch, Epoch{2});
  ASSERT_EQ(shard.joining, std::vector<VolumeNumber>{world.volumeOf(0)});
  world.caughtUp = {{shard.id, Epoch{1}, world.volumeOf(0)}, {shard.id, Epoch{2}, VolumeNumber{77}}};
  world.turn(10 * MILLISECOND);
  EXPECT_EQ(world.first().epoch, Epoch{2}) << "of another epoch, or by nobody who joins";
  world.catchUpAll();
  world.turn(10 * MILLISECOND);
  EXPECT_TRUE(world.allInSync());
  EXPECT_EQ(world.first().epoch, Epoch{3});
  for (auto& [volume, count] : primaries(world.map)) {
    EXPECT_GE(count, 4) << "the returned one leads its part again";
  }
}

TEST(ActingSets, APowerCutOfAllWaitsForAll) {
  PlacementWorld world(6);
  world.startAll();
  world.turn();
  for (size_t i = 0; i < 3; ++i) {
    world.kill(i);
  }
  world.pass(10 * SECOND);
  EXPECT_EQ(world.first().inSync.size(), 3) << "dying together, none is dropped";
  world.start(0);
  world.turn();
  world.start(1);
  world.pass(SECOND);
  EXPECT_EQ(world.first().epoch, Epoch{1}) << "the third may still come";
  world.start(2);
  world.turn();
  EXPECT_TRUE(world.allInSync());
  EXPECT_EQ(world.first().epoch, Epoch{2});
}

TEST(ActingSets, AfterTheGraceThoseThatCameGoOn) {
  PlacementWorld world(7);
  world.startAll();
  world.turn();
  for (size_t i = 0; i < 3; ++i) {
    world.kill(i);
  }
  world.pass(3 * SECOND);
  world.start(0);
  world.start(1);
  world.pass(RESTART_GRACE + 200 * MILLISECOND);
  EXPECT_EQ(world.first().inSync.size(), 2);
  EXPECT_EQ(world.first().epoch, Epoch{2});
  world.start(2);
  world.turn();
  EXPECT_EQ(world.first().joining, std::vector<VolumeNumber>{world.volumeOf(2)});
}

TEST(ActingSets, TheLastInSyncMemberIsWaitedFor) {
  PlacementWorld world(8);
  world.startAll();
  world.turn();
  world.kill(0);
  world.pass(5 * SECOND);
  world.kill(1);
  world.pass(5 * SECOND);
  ASSERT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(2)});
  world.kill(2);
  world.pass(60 * SECOND);
  world.start(0);
  world.start(1);
  world.pass(60 * SECOND);
  EXPECT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(2)});
  world.start(2);
  world.turn();
  EXPECT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(2)});
  EXPECT_EQ(world.first().joining.size(), 2);
}

TEST(ActingSets, AMemberThatHasEverythingTakesOverFromTheLastOne) {
  PlacementWorld world(16);
  world.startAll();
  world.turn();
  world.kill(0);
  world.kill(1);
  world.pass(10 * SECOND);
  ASSERT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(2)});
  world.start(0);
  world.turn();
  world.catchUpAll();
  world.kill(2);
  world.turn();
  EXPECT_TRUE(world.first().isInSync(world.volumeOf(0)));
  world.pass(10 * SECOND);
  EXPECT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(0)});
  EXPECT_EQ(world.first().primary, world.volumeOf(0));
}

TEST(ActingSets, TwoThatDieTogetherLeaveOneThatReads) {
  PlacementWorld world(9);
  world.startAll();
  world.turn();
  world.kill(0);
  world.kill(1);
  world.pass(REPLACE_AFTER + SECOND);
  EXPECT_EQ(world.first().inSync.size(), 3) << "below minCopies nothing is urgent";
  world.pass(SETTLE);
  EXPECT_EQ(world.first().inSync, std::vector<VolumeNumber>{world.volumeOf(2)});
}

TEST(ActingSets, AMasterRestartDisturbsNobody) {
  PlacementWorld world(10);
  world.startAll();
  world.turn();
  auto before = epochs(world.map);
  world.restartMaster();
  world.pass(10 * SECOND);
  EXPECT_EQ(epochs(world.map), before);
  world.machines[0].running = false;
  world.restartMaster();
  world.pass(START_GRACE - SECOND);
  EXPECT_EQ(epochs(world.map), before);
  world.pass(2 * SECOND);
  EXPECT_EQ(epochs(world.map), before + 16);
}

TEST(ActingSets, APausedMasterDropsNobody) {
  PlacementWorld world(11);
  world.startAll();
  world.turn();
  auto before = epochs(world.map);
  world.now += 60 * SECOND;
  world.roster->passTime(world.now);  // the timer fires before the heartbeats are read
  EXPECT_TRUE(decide(world.map, *world.roster, {}, world.rules, world.now, world.targets).change.empty());
  world.pass(5 * SECOND);
  EXPECT_EQ(epochs(world.map), before);
}

TEST(ActingSets, ASuspectLosesItsLeaseNotItsPlaceAtOnce) {
  PlacementWorld world(12);
  world.startAll();
  world.turn();
  auto id = [&](size_t i) { return world.machines[i].record.id; };
  world.roster->suspect(id(0), id(1), world.now);
  Nanos lease = 1;
  ASSERT_TRUE(world.roster->beat(id(1), world.machines[1].record.incarnation, world.map.version, world.now,
                                 lease));
  EXPECT_EQ(lease, 0);
  world.turn();
  EXPECT_EQ(world.first().inSync.size(), 3);
  world.pass(REPLACE_AFTER + 100 * MILLISECOND);
  EXPECT_FALSE(world.first().isInSync(world.volumeOf(1)));
  EXPECT_TRUE(world.first().joining.empty()) << "distrusted for a while";
  world.pass(DISTRUST + 200 * MILLISECOND);
  EXPECT_TRUE(world.first().isJoining(world.volumeOf(1)));
}

// It speaks again while the entry that drops it is on its way, or before it knows of it: then it would serve what the
// others overwrite without it.
TEST(ActingSets, WhoIsDroppedGetsNoLeaseBeforeItKnows) {
  PlacementWorld world(12);
  world.startAll();
  world.turn();
  auto& machine = world.machines[1];
  world.kill(1);
  for (Nanos end = world.now + REPLACE_AFTER; world.now <= end; world.now += 100 * MILLISECOND) {
    Nanos ignored = 0;
    for (size_t i : {0, 2}) {
      auto& other = world.machines[i].record;
      ASSERT_TRUE(world.roster->beat(other.id, other.incarnation, world.map.version, world.now, ignored));
    }
    world.roster->passTime(world.now);
  }
  Decision decision = decide(world.map, *world.roster, {}, world.rules, world.now, world.targets);
  ASSERT_EQ(decision.dropped, std::set<ServerId>{machine.record.id});
  world.roster->beginDrop(decision.dropped);
  auto lease = [&] {
    Nanos lease = -1;
    EXPECT_TRUE(world.roster->beat(machine.record.id, machine.record.incarnation, world.map.version, world.now, lease));
    return lease;
  };
  EXPECT_EQ(lease(), 0) << "the entry is on its way";
  MapVersion known = world.map.version;
  world.apply(decision.change);
  world.roster->endDrop(decision.dropped, world.map.version);
  Nanos given = -1;
  ASSERT_TRUE(world.roster->beat(machine.record.id, machine.record.incarnation, known, world.now, given));
  EXPECT_EQ(given, 0) << "it believes the map before";
  EXPECT_EQ(lease(), SERVER_LEASE);
}

TEST(ActingSets, WhoSuspectsEverybodyIsTheOneCutOff) {
  PlacementWorld world(13);
  world.startAll();
  world.turn();
  auto id = [&](size_t i) { return world.machines[i].record.id; };
  world.roster->suspect(id(0), id(1), world.now);
  world.roster->suspect(id(0), id(2), world.now);
  world.pass(2 * SECOND);
  EXPECT_FALSE(world.first().isInSync(world.volumeOf(0)));
  EXPECT_EQ(world.first().inSync.size(), 2);
}

TEST(ActingSets, ACopiedDataDirectoryIsRefused) {
  PlacementWorld world(14);
  world.startAll();
  world.turn();
  auto copy = world.machines[0].record;
  copy.incarnation = world.random.uuid<Incarnation>();
  EXPECT_EQ(world.roster->arrive(copy, world.machines[0].volumes, world.now).code(), EEXIST);
  world.kill(0);
  EXPECT_TRUE(world.roster->arrive(copy, world.machines[0].volumes, world.now).ok());
}

TEST(ActingSets, AFailedVolumeLeavesWhileItsServerStays) {
  PlacementWorld world(15);
  world.machines[0].volumes.push_back({world.random.uuid<VolumeId>(), uint64_t{1} << 40});
  world.startAll();
  world.turn();
  auto bad = world.machines[0].volumes[0];
  bad.usable = false;
  world.roster->reportVolume(world.machines[0].record.id, bad, world.now);
  world.turn();
  uint32_t shrunk = 0;
  for (auto& [id, shard] : world.map.shards) {
    for (VolumeNumber volume : shard.inSync) {
      EXPECT_NE(world.map.volume(volume)->id, bad.id);
    }
    shrunk += shard.inSync.size() == 2;
  }
  EXPECT_GT(shrunk, 0);
  EXPECT_LT(shrunk, 16) << "the server's other volume goes on";
}

// Servers die, restart, are cut off and return in any order while shards are written to; whatever happens, every
// in-sync member has every acknowledged write, and in the end all copies are there again.
class History {
 public:
  History(uint64_t seed, uint32_t servers, Nanos repairDelay) : world_(seed, servers, 3) {
    world_.rules.repairDelay = repairDelay;
    world_.rules.settleDelay = repairDelay / 4;
  }

  void run() {
    world_.startAll();
    world_.turn();
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) {
      act();
      step(10 * MILLISECOND + world_.random.below(800) * MILLISECOND);
    }
    for (auto& machine : world_.machines) {
      machine.reachable = true;
    }
    world_.startAll();
    for (int i = 0; i < 1200 && !world_.allInSync(); ++i) {
      step(100 * MILLISECOND);
    }
    EXPECT_TRUE(world_.allInSync());
  }

 private:
  void act() {
    auto& random = world_.random;
    size_t i = random.below(world_.machines.size());
    auto& machine = world_.machines[i];
    switch (random.below(9)) {
      case 0:
        machine.running ? world_.kill(i) : world_.start(i);
        break;
      case 1:
        if (machine.running) {
          world_.kill(i);
          world_.start(i);
        }
        break;
      case 2:
        machine.reachable = !machine.reachable;
        break;
      case 3:
        world_.restartMaster();
        break;
      case 4:
        if (random.below(4) == 0) {
          for (size_t other = 0; other < world_.machines.size(); ++other) {
            world_.kill(other);
          }
        }
        break;
      case 5:
        world_.roster->suspect(machine.record.id, world_.machines[0].record.id, world_.now);
        break;
      case 6:
        if (machine.running && machine.reachable) {
          world_.leave(i);
        }
        break;
      default:
        world_.startAll();
    }
  }

  void step(Nanos pass) {
    write();
    catchUpSome(50);
    auto before = world_.map;
    world_.turn(pass);
    world_.caughtUp.clear();
    compare(before);
  }

  bool serves(VolumeNumber volume) {
    auto& machine = world_.machineOf(volume);
    return machine.running && machine.record.incarnation == world_.map.serverOf(volume)->incarnation;
  }

  // Acknowledged when every in-sync member has it.
  void write() {
    for (auto& [id, shard] : world_.map.shards) {
      bool all = shard.inSync.size() >= 2;
      for (VolumeNumber volume : shard.inSync) {
        all = all && serves(volume);
      }
      if (!all) {
        continue;
      }
      uint64_t number = ++written_[id];
      for (VolumeNumber volume : shard.inSync) {
        has_[{id, volume}] = number;
      }
    }
  }

  void catchUpSome(uint64_t percent) {
    for (auto& [id, shard] : world_.map.shards) {
      bool source = std::any_of(shard.inSync.begin(), shard.inSync.end(), [this](auto v) { return serves(v); });
      for (VolumeNumber volume : shard.joining) {
        if (source && serves(volume) && world_.machineOf(volume).reachable && world_.random.below(100) < percent) {
          has_[{id, volume}] = written_[id];
          world_.caughtUp.push_back({id, shard.epoch, volume});
        }
      }
    }
  }

  void compare(const ShardMap& before) {
    for (auto& [id, shard] : world_.map.shards) {
      ASSERT_FALSE(shard.inSync.empty());
      EXPECT_TRUE(shard.isInSync(shard.primary));
      for (VolumeNumber volume : shard.inSync) {
        ASSERT_EQ((has_[{id, volume}]), written_[id]) << "a stale member counts as in sync";
        EXPECT_FALSE(shard.isJoining(volume));
      }
      auto old = before.shard(id);
      if (old == nullptr) {
        continue;
      }
      bool same = old->inSync == shard.inSync && old->joining == shard.joining;
      EXPECT_GE(shard.epoch, old->epoch);
      EXPECT_TRUE(same || shard.epoch > old->epoch) << "members changed within an epoch";
      for (VolumeNumber volume : shard.inSync) {
        bool restarted = before.serverOf(volume)->incarnation != world_.map.serverOf(volume)->incarnation;
        EXPECT_TRUE(!restarted || shard.epoch > old->epoch) << "a new incarnation within an epoch";
      }
    }
  }

  PlacementWorld world_;
  std::map<ShardId, uint64_t> written_;
  std::map<std::pair<ShardId, VolumeNumber>, uint64_t> has_;
};

TEST(ActingSets, NoHistoryMakesAStaleMemberInSync) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History(seed, 3 + seed % 3, 20 * SECOND).run();
    if (HasFailure()) {
      return;
    }
  }
}

TEST(ActingSets, NorDoesOneInWhichCopiesMoveAllTheTime) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History(seed, 4 + seed % 4, 2 * SECOND).run();
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace cairn
