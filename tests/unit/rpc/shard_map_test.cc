// The shard map: what is encoded comes back, deltas apply only where they fit.
#include "rpc/shard_map.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

ShardMap sample() {
  ShardMap map;
  map.version = MapVersion{7};
  map.classes[ClassId{0}] = ReplicationClass{ClassId{0}, 3, 2, 4};
  map.classes[ClassId{1}] = ReplicationClass{ClassId{1}, 2, 2, 4, wire::FailureDomain::RACK};
  ServerId server{1, 2};
  auto& record = map.servers[server];
  record = ServerRecord{server, "c1", Incarnation{3, 4}, "h:1", "/s", "boot", wire::ServerState::DRAINING, true};
  record.rack = "r1";
  record.zone = "z1";
  map.volumes[VolumeNumber{5}] = VolumeRecord{VolumeNumber{5}, VolumeId{6, 7}, server, 9, false};
  for (uint32_t i = 0; i < 16; ++i) {
    ShardRecord shard;
    shard.id = makeShardId(ClassId{0}, i);
    shard.epoch = Epoch{i + 1};
    shard.primary = VolumeNumber{5};
    shard.inSync = {VolumeNumber{5}};
    shard.joining = {VolumeNumber{6}};
    shard.target = {VolumeNumber{5}, VolumeNumber{6}};
    shard.changed = MapVersion{i % 2 == 0 ? 5u : 7u};
    map.shards[shard.id] = shard;
  }
  map.fenced = {SessionId{11}, SessionId{12}};
  return map;
}

bool sendDelta(const ShardMap& from, MapVersion since, ShardMap& to) {
  capnp::MallocMessageBuilder message;
  auto builder = message.initRoot<wire::ShardMap>();
  from.encode(builder, since);
  return to.apply(builder.asReader());
}

TEST(ShardMap, ACompleteMapComesBackAsItWas) {
  ShardMap map = sample();
  ShardMap copy;
  ASSERT_TRUE(sendDelta(map, MapVersion{0}, copy));
  EXPECT_EQ(copy.version, map.version);
  EXPECT_EQ(copy.classes, map.classes);
  EXPECT_EQ(copy.servers, map.servers);
  EXPECT_EQ(copy.volumes, map.volumes);
  EXPECT_EQ(copy.fenced, map.fenced);
  ASSERT_EQ(copy.shards.size(), map.shards.size());
  const ShardRecord* shard = copy.shard(makeShardId(ClassId{0}, 3));
  ASSERT_NE(shard, nullptr);
  EXPECT_EQ(shard->epoch, Epoch{4});
  EXPECT_TRUE(shard->isInSync(VolumeNumber{5}));
  EXPECT_FALSE(shard->isInSync(VolumeNumber{6}));
  EXPECT_TRUE(shard->isJoining(VolumeNumber{6}));
  EXPECT_EQ(copy.serverOf(VolumeNumber{5})->name, "c1");
  EXPECT_EQ(copy.serverOf(VolumeNumber{99}), nullptr);
}

TEST(ShardMap, ADeltaCarriesOnlyChangedShardsAndFitsOnlyItsStart) {
  ShardMap map = sample();
  capnp::MallocMessageBuilder message;
  auto delta = message.initRoot<wire::ShardMap>();
  map.encode(delta, MapVersion{6});
  EXPECT_EQ(delta.getShards().size(), 8u);

  ShardMap elsewhere;
  elsewhere.version = MapVersion{5};
  EXPECT_FALSE(elsewhere.apply(delta.asReader()));
  EXPECT_EQ(elsewhere.version, MapVersion{5});

  ShardMap holder;
  ASSERT_TRUE(sendDelta(map, MapVersion{0}, holder));
  holder.version = MapVersion{6};
  map.shards[makeShardId(ClassId{0}, 1)].epoch = Epoch{50};
  ASSERT_TRUE(sendDelta(map, MapVersion{6}, holder));
  EXPECT_EQ(holder.shard(makeShardId(ClassId{0}, 1))->epoch, Epoch{50});
  EXPECT_EQ(holder.shards.size(), 16u);
}

TEST(ShardMap, AnOlderCompleteMapIsRefused) {
  ShardMap map = sample();
  ShardMap newer;
  newer.version = MapVersion{8};
  EXPECT_FALSE(sendDelta(map, MapVersion{0}, newer));
}

TEST(ShardMap, ChunksFindTheirShardByTheHighBitsOfTheirHash) {
  ShardMap map = sample();
  for (uint32_t i = 0; i < 1000; ++i) {
    ChunkId chunk{ObjectId{i}, i % 7};
    const ShardRecord* shard = map.shard(ClassId{0}, chunk);
    ASSERT_NE(shard, nullptr);
    // Doubling the count must split a shard in two.
    EXPECT_EQ(shardPosition(shardOf(ClassId{0}, 5, chunk)) >> 1, shardPosition(shard->id));
  }
  EXPECT_EQ(map.shard(ClassId{1}, ChunkId{}), nullptr);
}

}  // namespace
}  // namespace cairn
