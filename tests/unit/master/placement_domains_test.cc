// Failure domains above the server, and classes whose copies must not share one.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "master/health.h"
#include "master/placement/classes.h"
#include "tests/unit/master/placement_world.h"

namespace cairn {
namespace {

using Level = wire::FailureDomain;
using State = wire::ServerState;

constexpr ClassId RACKS{1};

ServerRecord serverIn(const char* rack, const char* zone) {
  static constexpr uint64_t ANY = 7;
  ServerRecord server;
  server.id = ServerId{ANY, 1};
  server.name = "c1";
  server.rack = rack;
  server.zone = zone;
  return server;
}

TEST(DomainNames, ARackCountsWithinItsZone) {
  EXPECT_EQ(domainOf(serverIn("r1", ""), Level::RACK), domainOf(serverIn("r1", ""), Level::RACK));
  EXPECT_NE(domainOf(serverIn("r1", "a"), Level::RACK), domainOf(serverIn("r1", "b"), Level::RACK));
  EXPECT_EQ(domainOf(serverIn("r1", "a"), Level::ZONE), domainOf(serverIn("r2", "a"), Level::ZONE));
  EXPECT_EQ(domainOf(serverIn("r1", "a"), Level::SERVER), domainOf(serverIn("r2", "b"), Level::SERVER));
  EXPECT_EQ(domainName(serverIn("r1", "a"), Level::RACK), "a/r1");
}

TEST(DomainNames, WhoDoesntSayCountsAsOneOfItsOwn) {
  ServerRecord one = serverIn("", "a");
  ServerRecord other = one;
  other.id = ServerId{7, 2};
  EXPECT_NE(domainOf(one, Level::RACK), domainOf(other, Level::RACK));
  EXPECT_EQ(domainOf(one, Level::ZONE), domainOf(other, Level::ZONE));
  EXPECT_FALSE(saysDomain(one, Level::RACK));
  EXPECT_EQ(domainName(one, Level::RACK), "c1");
}

// Servers in racks r1, r2, ... in turn.
class RackWorld : public PlacementWorld {
 public:
  RackWorld(uint64_t seed, uint32_t servers, uint32_t racks) : PlacementWorld(seed, servers, 6) {
    for (uint32_t i = 0; i < servers; ++i) {
      machines[i].record.rack = racks == 0 ? "" : "r" + std::to_string(i % racks + 1);
    }
    startAll();
    pass(rules.settleDelay + SECOND);
  }
  Status make(uint32_t copies) {
    ClassWish wish{copies, Level::RACK};
    auto sound = mayHave(map, wish);
    if (sound.ok()) {
      MapChange change;
      change.classes.push_back(newClass(map, wish));
      apply(change);
      turn();
    }
    return sound;
  }
  // Of the class's shards: the fewest copies wanted and in sync, and how many have two in one rack.
  struct Look {
    size_t shards = 0;
    size_t leastWanted = SIZE_MAX;
    size_t leastInSync = SIZE_MAX;
    size_t together = 0;
  };
  Look look() const {
    Look out;
    for (auto& [id, shard] : map.shards) {
      if (shardClass(id) != RACKS) {
        continue;
      }
      std::set<std::string> racks;
      for (VolumeNumber volume : shard.target) {
        racks.insert(map.serverOf(volume)->rack);
      }
      ++out.shards;
      out.leastWanted = std::min(out.leastWanted, shard.target.size());
      out.leastInSync = std::min(out.leastInSync, shard.inSync.size());
      out.together += racks.size() < shard.target.size();
    }
    return out;
  }
  // Until nothing joins any more; the fewest copies in sync on the way.
  size_t copyAll() {
    size_t least = SIZE_MAX;
    for (int i = 0; i < 400; ++i) {
      catchUpAll();
      turn();
      caughtUp.clear();
      least = std::min(least, look().leastInSync);
    }
    return least;
  }
  // It is started again, and says that it is in another rack.
  void moveTo(size_t machine, const char* rack) {
    kill(machine);
    machines[machine].record.rack = rack;
    turn();
    start(machine);
    turn();
  }
  const Reason* reason(const std::string& code) {
    HealthInput input{map, *roster};
    input.now = now;
    health = assess(input);
    auto found = std::find_if(health.reasons.begin(), health.reasons.end(), [&](auto& r) { return r.code == code; });
    return found == health.reasons.end() ? nullptr : &*found;
  }

  Health health;
};

TEST(Domains, AClassMadeLaterIsPlacedInDifferentRacks) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RackWorld world(seed, 7, 3);
    ASSERT_TRUE(world.make(3).ok());
    auto seen = world.look();
    EXPECT_EQ(seen.shards, 64u);
    EXPECT_EQ(seen.leastInSync, 3u);
    EXPECT_EQ(seen.together, 0u);
    EXPECT_EQ(world.map.classes.at(RACKS).minCopies, 2);
    EXPECT_EQ(findClass(world.map, {3, Level::RACK})->id, RACKS);
    EXPECT_EQ(findClass(world.map, {2, Level::RACK}), nullptr);
  }
}

// After servers were lost or removed fewer may be here than were waited for at first.
TEST(Domains, AClassMadeLaterNeedsOnlyItsOwnDomains) {
  RackWorld world(9, 6, 3);
  world.kill(0);
  world.pass(2 * SECOND);
  ASSERT_TRUE(world.make(3).ok());
  EXPECT_EQ(world.look().shards, 64u);
}

TEST(Domains, WhatIsDrainedGetsNothingOfALaterClass) {
  RackWorld world(10, 6, 3);
  ServerRecord draining = world.map.servers.at(world.machines[2].record.id);
  draining.state = State::DRAINING;
  world.apply({{draining}, {}, {}, {}, {}});
  ASSERT_TRUE(world.make(2).ok());
  VolumeNumber leaving = world.volumeOf(2);
  for (auto& [id, shard] : world.map.shards) {
    EXPECT_FALSE(shardClass(id) == RACKS && isUsed(shard, leaving));
  }
}

TEST(Domains, TooFewAreRefusedWithFigures) {
  RackWorld world(11, 4, 2);
  auto refused = world.make(3);
  EXPECT_EQ(refused.code(), EINVAL);
  EXPECT_EQ(refused.error().why,
            "3 copies in different racks need 3 racks with a server in service; there are 2: r1, r2");
  world.kill(0);
  world.kill(2);
  world.pass(3 * SECOND);
  EXPECT_EQ(world.make(2).error().why,
            "2 copies in different racks need 2 racks with a server in service; there is 1: r2");
  EXPECT_EQ(mayHave(world.map, {0, Level::SERVER}).code(), EINVAL);
  EXPECT_EQ(mayHave(world.map, {CLASS_COPIES_MAX + 1, Level::SERVER}).code(), EINVAL);
  EXPECT_EQ(world.map.classes.size(), 1u) << "nothing is made for what is refused";
}

TEST(Domains, ThereCanBeOnlySoManyClasses) {
  RackWorld world(12, 3, 3);
  for (uint16_t i = 1; i < CLASSES_MAX; ++i) {
    world.map.classes[ClassId{i}] = {ClassId{i}, static_cast<uint8_t>(10 + i), 2, 0};
  }
  EXPECT_EQ(mayHave(world.map, {2, Level::RACK}).code(), ENOSPC);
  EXPECT_TRUE(mayHave(world.map, {3, Level::SERVER}).ok()) << "that one is there";
}

TEST(Domains, WithFewerRacksThereAreFewerCopiesAndTheHealthSaysSo) {
  RackWorld world(13, 6, 3);
  ASSERT_TRUE(world.make(3).ok());
  EXPECT_EQ(world.reason("racks-missing"), nullptr);
  world.kill(2);
  world.kill(5);
  world.pass(world.rules.repairDelay + 2 * SECOND);
  world.copyAll();
  EXPECT_EQ(world.look().leastInSync, 2u);
  EXPECT_EQ(world.look().together, 0u);
  ASSERT_NE(world.reason("racks-missing"), nullptr);
  EXPECT_FALSE(world.health.reasons.front().critical);
  // A server in a third rack takes what is missing.
  world.addServer(1);
  world.machines.back().record.rack = "r9";
  world.start(world.machines.size() - 1);
  world.pass(world.rules.settleDelay + SECOND);
  world.copyAll();
  EXPECT_EQ(world.look().leastInSync, 3u);
  EXPECT_EQ(world.look().together, 0u);
  EXPECT_EQ(world.reason("racks-missing"), nullptr);
}

TEST(Domains, AServerThatComesToBeElsewhereMovesCopiesApart) {
  for (uint64_t seed = 20; seed < 26; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RackWorld world(seed, 8, 4);
    ASSERT_TRUE(world.make(3).ok());
    world.moveTo(0, "r2");
    world.pass(world.rules.settleDelay * SETTLE_FLAPPING);
    EXPECT_GE(world.copyAll(), 2u) << "only what the restart cost";
    EXPECT_EQ(world.look().leastInSync, 3u);
    EXPECT_EQ(world.look().together, 0u);
  }
}

// The racks were told wrong: with two of them nobody else can take a third copy. The one that is there stays.
TEST(Domains, NoCopyIsGivenUpForNothingWhenRacksBecomeOne) {
  RackWorld world(30, 6, 3);
  ASSERT_TRUE(world.make(3).ok());
  world.moveTo(2, "r1");
  world.copyAll();
  world.moveTo(5, "r1");
  world.copyAll();
  EXPECT_EQ(world.look().leastInSync, 3u);
  EXPECT_EQ(world.look().leastWanted, 3u);
  EXPECT_GT(world.look().together, 0u);
  ASSERT_NE(world.reason("copies-together"), nullptr);
  EXPECT_NE(world.reason("racks-missing"), nullptr);
}

TEST(Domains, WhoDoesntSayItsRackIsNamed) {
  RackWorld world(31, 4, 0);
  EXPECT_EQ(world.reason("rack-unknown"), nullptr) << "nobody asks for racks";
  ASSERT_TRUE(world.make(3).ok());
  const Reason* reason = world.reason("rack-unknown");
  ASSERT_NE(reason, nullptr);
  EXPECT_NE(reason->text.find("c1, c2, c3, c4 are in"), std::string::npos) << reason->text;
  EXPECT_NE(reason->action.find("--rack"), std::string::npos);
  EXPECT_EQ(world.look().leastInSync, 3u);
}

}  // namespace
}  // namespace cairn
