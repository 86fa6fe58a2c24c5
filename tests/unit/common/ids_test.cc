#include "common/ids.h"

#include <gtest/gtest.h>
#include <kj/string.h>

#include <map>

#include "common/checksum.h"

namespace cairn {
namespace {

TEST(Uuid, TextIsReadBack) {
  ClusterId id{0x0123456789abcdefull, 0xfedcba9876543210ull};
  EXPECT_EQ(toText(id), "0123456789abcdeffedcba9876543210");
  ClusterId back;
  ASSERT_TRUE(parse(toText(id), back));
  EXPECT_EQ(back, id);
  EXPECT_EQ(toText(ClusterId{}), std::string(32, '0'));
}

TEST(Uuid, RefusesAnythingElse) {
  const std::string good = "0123456789abcdeffedcba9876543210";
  for (std::string bad :
       {good + "0", good.substr(1), std::string(), std::string("0123456789abcdeFfedcba9876543210"),
        std::string("0123456789abcdef-edcba9876543210"), std::string(32, 'g'), " " + good.substr(1)}) {
    VolumeId id{7, 7};
    EXPECT_FALSE(parse(bad, id)) << bad;
    EXPECT_EQ(id, (VolumeId{7, 7})) << "changed by a text that it refused";
  }
}

TEST(ShardId, HoldsClassAndPosition) {
  ShardId shard = makeShardId(ClassId{3}, 1023);
  EXPECT_EQ(raw(shardClass(shard)), 3);
  EXPECT_EQ(shardPosition(shard), 1023u);
}

TEST(ShardOf, IsPartOfTheFormat) {
  // Chunks on disks are found by these numbers: a change of them loses data.
  EXPECT_EQ(shardPosition(shardOf(ClassId{0}, 10, ChunkId{ObjectId{1}, 0})), 107u);
  EXPECT_EQ(shardPosition(shardOf(ClassId{0}, 10, ChunkId{ObjectId{0x123456789abcdef}, 77})), 648u);
}

TEST(ShardOf, DoublingSplitsEachShardInTwo) {
  for (uint32_t i = 0; i < 1000; i++) {
    ChunkId chunk{ObjectId{i * 7919}, i};
    uint32_t coarse = shardPosition(shardOf(ClassId{0}, 10, chunk));
    uint32_t fine = shardPosition(shardOf(ClassId{0}, 11, chunk));
    EXPECT_EQ(fine / 2, coarse);
  }
}

TEST(ShardOf, SpreadsTheChunksOfOneObjectEvenly) {
  std::map<ShardId, int> counts;
  for (uint32_t i = 0; i < 64 * 1024; i++) {
    counts[shardOf(ClassId{0}, 6, ChunkId{ObjectId{42}, i})]++;
  }
  EXPECT_EQ(counts.size(), 64u);
  for (auto [shard, count] : counts) {
    EXPECT_NEAR(count, 1024, 160) << raw(shard);  // five standard deviations
  }
  EXPECT_EQ(shardOf(ClassId{5}, 0, ChunkId{ObjectId{42}, 9}), makeShardId(ClassId{5}, 0));
}

TEST(BlockChecksum, CountsAShortBlockAsPaddedWithZeros) {
  kj::byte block[BLOCK_BYTES] = {1, 2, 3};
  auto whole = kj::ArrayPtr<const kj::byte>(block, sizeof(block));
  EXPECT_EQ(blockChecksum(whole), blockChecksum(whole.slice(0, 3)));
  EXPECT_EQ(blockChecksum(whole.slice(3, 4)), blockChecksum(nullptr));
  EXPECT_NE(blockChecksum(nullptr), 0u) << "0 means a hole";
  block[BLOCK_BYTES - 1] = 1;
  EXPECT_NE(blockChecksum(whole), blockChecksum(whole.slice(0, 3)));
}

TEST(Hash64, DependsOnSeedAndBytes) {
  EXPECT_NE(hash64("a"), hash64("b"));
  EXPECT_NE(hash64("a"), hash64("a", 1));
  EXPECT_EQ(hash64("a"), hash64(kj::StringPtr("a").asBytes()));
}

TEST(GroupEpoch, TextAndOrder) {
  GroupEpoch first = recoveredEpoch(GroupEpoch{}, 0xffffffff0012ab34), second = recoveredEpoch(first, 1);
  EXPECT_EQ(toText(GroupEpoch{}), "0");
  EXPECT_EQ(toText(first), "1-0012ab34");
  EXPECT_EQ(toText(second), "2-00000001");
  EXPECT_LT(first, second);
  for (auto epoch : {GroupEpoch{}, first, second}) {
    GroupEpoch read{99};
    EXPECT_TRUE(parse(toText(epoch), read));
    EXPECT_EQ(read, epoch);
  }
  for (const char* wrong : {"", "1", "-", "1-", "1-0012ab3", "1-0012ab345", "x-0012ab34", "1-0012AB34", "1-00-2ab34"}) {
    GroupEpoch read{99};
    EXPECT_FALSE(parse(wrong, read)) << wrong;
  }
}

}  // namespace
}  // namespace cairn
