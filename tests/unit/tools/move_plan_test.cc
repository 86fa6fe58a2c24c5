#include "tools/admin/move_plan.h"

#include <gtest/gtest.h>

#include "master/placement/ring.h"

namespace cairn::admin {
namespace {

constexpr ClassId CLASS{0};
constexpr uint64_t GIB = uint64_t{1} << 30;

// Servers c1, c2 ... with a volume each, in racks r1, r2 ... in turn, their shards placed; each disk of 100 GiB, of
// which `usedBytes` are chunks.
struct PlanWorld {
  PlanWorld(uint32_t servers, uint64_t usedBytes, uint32_t racks = 0) {
    auto level = racks == 0 ? wire::FailureDomain::SERVER : wire::FailureDomain::RACK;
    map.classes[CLASS] = {CLASS, 3, 2, 6, level};
    std::vector<RingVolume> volumes;
    status["servers"] = Json::array();
    status["repair"] = {{"bytesPerSecond", 0}};
    for (uint32_t i = 1; i <= servers; ++i) {
      ServerRecord server;
      server.id = ServerId{1, i};
      server.name = "c" + std::to_string(i);
      server.online = true;
      server.rack = racks == 0 ? "" : "r" + std::to_string((i - 1) % racks + 1);
      map.servers[server.id] = server;
      VolumeRecord volume{VolumeNumber{i}, VolumeId{2, i}, server.id, 1600, true};
      map.volumes[volume.number] = volume;
      volumes.push_back({volume.number, volume.id, domainOf(server, level), volume.weight});
      Json disk = {{"number", i}, {"usedBytes", usedBytes}, {"totalBytes", 100 * GIB}, {"ownBytes", usedBytes}};
      status["servers"].push_back({{"name", server.name}, {"volumes", Json::array({disk})}});
    }
    auto placement = placeShards(volumes, CLASS, 64, 3, {});
    for (uint32_t position = 0; position < 64; ++position) {
      ShardRecord shard;
      shard.id = makeShardId(CLASS, position);
      shard.target = shard.inSync = placement[position];
      shard.primary = shard.target.front();
      map.shards[shard.id] = shard;
    }
  }
  ShardMap map;
  Json status;
};

TEST(MovePlan, ADrainMovesWhatTheServerHasAndKeepsAllCopies) {
  PlanWorld world(5, 10 * GIB);
  auto plan = planMove(world.map, world.status, Move::DRAIN, "c2");
  EXPECT_EQ(plan.refused, "");
  EXPECT_EQ(plan.leastCopies, 3u);
  EXPECT_NEAR(static_cast<double>(plan.bytesToMove), 10.0 * GIB, 1.5 * GIB);
  EXPECT_NEAR(plan.fullestPercentAfter, 12, 2);
  EXPECT_EQ(plan.etaSeconds, (plan.bytesToMove + ASSUMED_BYTES_PER_SECOND - 1) / ASSUMED_BYTES_PER_SECOND);
}

TEST(MovePlan, AFailureCostsACopyOnTheWay) {
  PlanWorld world(5, 10 * GIB);
  auto plan = planMove(world.map, world.status, Move::FAIL, "c2");
  EXPECT_EQ(plan.refused, "");
  EXPECT_EQ(plan.leastCopies, 2u);
}

TEST(MovePlan, TooFewServersOrTooLittleRoomIsRefused) {
  PlanWorld few(3, GIB);
  EXPECT_NE(planMove(few.map, few.status, Move::DRAIN, "c1").refused.find("add a chunkserver"), std::string::npos);
  PlanWorld full(4, 80 * GIB);
  auto plan = planMove(full.map, full.status, Move::REMOVE, "c1");
  EXPECT_NE(plan.refused.find("% full"), std::string::npos) << plan.refused;
}

TEST(MovePlan, ANewServerTakesItsShare) {
  PlanWorld world(5, 10 * GIB);
  auto plan = planMove(world.map, world.status, Move::ADD, "c6");
  EXPECT_EQ(plan.refused, "");
  EXPECT_LE(plan.copiesMoved, 1.25 * 64 * 3 / 6);
  EXPECT_GE(plan.copiesMoved, 0.75 * 64 * 3 / 6);
  EXPECT_EQ(plan.leastCopies, 3u);
}

TEST(MovePlan, CopiesInDifferentRacksNeedRacksNotServers) {
  PlanWorld world(7, 10 * GIB, 3);  // c1 c4 c7 | c2 c5 | c3 c6
  EXPECT_EQ(planMove(world.map, world.status, Move::DRAIN, "c1").refused, "");
  PlanWorld single(5, GIB, 3);  // r3 has only c3
  EXPECT_EQ(planMove(single.map, single.status, Move::DRAIN, "c3").refused,
            "only 2 racks would be left for 3 copies in different ones; add a chunkserver in another one first");
  // A second server in r3 takes half of what c3 has, which has a copy of everything; one elsewhere takes nothing of it.
  NewServer beside{0, "r3", ""};
  auto plan = planMove(single.map, single.status, Move::ADD, "c6", beside);
  EXPECT_NEAR(plan.copiesMoved, 32, 8);
}

}  // namespace
}  // namespace cairn::admin
