#include "tools/admin/shards.h"

#include <gtest/gtest.h>

namespace cairn::admin {
namespace {

class Shards : public testing::Test {
 protected:
  Shards() {
    map.classes[ClassId{0}] = ReplicationClass{ClassId{0}, 3, 2, 4};
    for (uint32_t n = 1; n <= 4; ++n) {
      ServerRecord server;
      server.id = ServerId{0, n};
      server.name = "c" + std::to_string(n);
      server.online = true;
      map.servers[server.id] = server;
      map.volumes[VolumeNumber{n}] = VolumeRecord{VolumeNumber{n}, VolumeId{0, n}, server.id, 1, true};
    }
    shard.id = makeShardId(ClassId{0}, 5);
    shard.inSync = shard.target = volumes({1, 2, 3});
    shard.primary = VolumeNumber{1};
  }
  static std::vector<VolumeNumber> volumes(std::initializer_list<uint32_t> numbers) {
    std::vector<VolumeNumber> out;
    for (uint32_t number : numbers) {
      out.push_back(VolumeNumber{number});
    }
    return out;
  }
  void stop(uint32_t n) { map.servers[ServerId{0, n}].online = false; }

  ShardMap map;
  ShardRecord shard;
};

TEST_F(Shards, StateFollowsTheMembersThatAreOnline) {
  EXPECT_EQ(shardState(map, shard), "healthy");
  stop(2);
  EXPECT_EQ(shardState(map, shard), "degraded");
  stop(3);
  EXPECT_EQ(shardState(map, shard), "at-risk");
  stop(1);
  EXPECT_EQ(shardState(map, shard), "unavailable");
}

TEST_F(Shards, StateKnowsPlacement) {
  shard.inSync = volumes({2, 1, 3});
  EXPECT_EQ(shardState(map, shard), "healthy");
  shard.target = volumes({1, 2, 4});
  EXPECT_EQ(shardState(map, shard), "misplaced");
  shard.inSync.clear();
  EXPECT_EQ(shardState(map, shard), "unplaced");
}

TEST_F(Shards, MembersAreNamedByServerAndByVolumeWhereItHasSeveral) {
  EXPECT_EQ(membersText(map, shard.inSync), "c1 c2 c3");
  map.volumes[VolumeNumber{9}] = VolumeRecord{VolumeNumber{9}, VolumeId{0, 9}, ServerId{0, 2}, 1, true};
  EXPECT_EQ(membersText(map, volumes({1, 2, 9, 77})), "c1 c2/2 c2/9 volume 77");
  EXPECT_EQ(membersText(map, {}), "-");
}

TEST_F(Shards, JsonKeepsTheSchema) {
  shard.joining = volumes({4});
  auto json = shardJson(map, shard);
  EXPECT_EQ(json["id"], 5);
  EXPECT_EQ(json["primary"], 1);
  EXPECT_EQ(json["inSync"][1]["server"], "c2");
  EXPECT_EQ(json["joining"][0]["volume"], 4);
  shard.inSync.clear();
  EXPECT_TRUE(shardJson(map, shard)["primary"].is_null());
}

}  // namespace
}  // namespace cairn::admin
