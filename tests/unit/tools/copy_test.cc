// Reading one copy of a chunk: what counts as good, and how bad blocks are named.
#include <gtest/gtest.h>

#include "common/checksum.h"
#include "tests/unit/tools/admin_world.h"
#include "tools/admin/chunk_doors.h"

namespace cairn::admin {
namespace {

constexpr uint8_t CHUNK_BITS = 16;  // 16 blocks

// A chunk with a few blocks of data; answers as a chunkserver does.
class Chunk final : public wire::ChunkService::Server {
 public:
  std::map<uint32_t, std::string> blocks;
  std::set<uint32_t> knownBad;   // the server itself refuses these
  std::set<uint32_t> wrongSums;  // the server doesn't notice
  wire::Verdict verdict = wire::Verdict::OK;

  kj::Promise<void> read(ReadContext context) override {
    auto params = context.getParams();
    auto results = context.getResults();
    uint32_t first = params.getOffset() / BLOCK_BYTES, count = params.getLength() / BLOCK_BYTES;
    auto answer = results.initAnswer();
    answer.setVerdict(verdict);
    answer.setWhy("because");
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (knownBad.count(first + i) > 0) {
        answer.setVerdict(wire::Verdict::CORRUPT);
      }
      end = blocks.count(first + i) > 0 ? i + 1 : end;
    }
    auto data = results.initData(end * BLOCK_BYTES);
    auto sums = results.initSums(end);
    for (uint32_t i = 0; i < end; ++i) {
      auto block = blocks.find(first + i);
      if (block == blocks.end()) {
        continue;
      }
      auto at = data.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      memcpy(at.begin(), block->second.data(), block->second.size());
      sums.set(i, blockChecksum(at) ^ wrongSums.count(first + i));
    }
    return kj::READY_NOW;
  }
};

class Copies : public testing::Test {
 protected:
  Copies() {
    file.chunkBits = CHUNK_BITS;
    shard.id = makeShardId(ClassId{0}, 1);
  }
  ChunkCopy read(kj::Own<Chunk> chunk) {
    wire::ChunkService::Client client = kj::mv(chunk);
    return admin.world.await(readCopy(admin.context, client, ChunkPlace{file, map, shard, 0}), 60 * SECOND);
  }
  static kj::Own<Chunk> chunk() {
    auto chunk = kj::heap<Chunk>();
    chunk->blocks[0] = std::string(BLOCK_BYTES, 'a');
    chunk->blocks[3] = std::string(BLOCK_BYTES, 'b');
    return chunk;
  }

  AdminWorld admin;
  FileTarget file;
  ShardMap map;
  ShardRecord shard;
};

TEST_F(Copies, HolesAndZerosAreTheSame) {
  auto sparse = read(chunk());
  EXPECT_EQ(sparse.verdict, wire::Verdict::OK);
  EXPECT_TRUE(sparse.bad.empty());
  ASSERT_EQ(sparse.sums.size(), 16u);
  EXPECT_NE(sparse.sums[0], 0u);
  EXPECT_EQ(sparse.sums[1], 0u);
  auto withZeros = chunk();
  withZeros->blocks[1] = std::string(BLOCK_BYTES, '\0');
  withZeros->blocks[9] = std::string(BLOCK_BYTES, '\0');
  EXPECT_EQ(read(kj::mv(withZeros)).sums, sparse.sums);
}

TEST_F(Copies, AnotherByteIsAnotherSum) {
  auto other = chunk();
  other->blocks[3][17] = 'x';
  auto copy = read(kj::mv(other));
  EXPECT_TRUE(copy.bad.empty());
  EXPECT_NE(copy.sums, read(chunk()).sums);
}

TEST_F(Copies, ABlockThatTheServerKnowsToBeBadIsNamed) {
  auto broken = chunk();
  broken->knownBad = {3};
  auto copy = read(kj::mv(broken));
  EXPECT_EQ(copy.verdict, wire::Verdict::OK);
  EXPECT_EQ(copy.bad, std::vector<uint32_t>{3});
  EXPECT_EQ(copy.sums.size(), 16u);
}

TEST_F(Copies, ABlockThatOnlyTheReaderFindsBadIsNamed) {
  auto broken = chunk();
  broken->wrongSums = {0};
  EXPECT_EQ(read(kj::mv(broken)).bad, std::vector<uint32_t>{0});
}

TEST_F(Copies, AnotherVerdictIsHandedOn) {
  auto stale = chunk();
  stale->verdict = wire::Verdict::STALE_EPOCH;
  auto copy = read(kj::mv(stale));
  EXPECT_EQ(copy.verdict, wire::Verdict::STALE_EPOCH);
  EXPECT_EQ(copy.why, "because");
}

}  // namespace
}  // namespace cairn::admin
