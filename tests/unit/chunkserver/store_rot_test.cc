// Damage that a careless look misses: rot under the page cache, an older header, writes that the disk has lost whole.
#include "chunkserver/store/volume.h"
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t BLOCKS = 40;
constexpr uint32_t BYTES = BLOCKS * BLOCK_BYTES;  // a file of its own

struct RotWorld : StoreWorld {
  explicit RotWorld(uint64_t seed) : StoreWorld(seed) {
    open();
    EXPECT_TRUE(write(key, 0, data).ok());
    settle();
  }
  // Synced, and no dirty mark left.
  void settle() {
    EXPECT_TRUE(sync(key).ok());
    maintainFor(20 * SECOND);
  }
  ScrubPart look() {
    auto part = await(store().scrub(key, 0, BLOCKS));
    EXPECT_TRUE(part.ok()) << part.error().why;
    return part.ok() ? part.value() : ScrubPart();
  }
  uint64_t blockAt(uint32_t block) { return blockOffset(DEFAULT_CHUNK_BITS, block); }
  std::vector<kj::byte> stored(uint64_t offset, size_t size) {
    auto disk = volume.open();
    auto opened = disk->open(chunkPath(key), Disk::Mode::READ_WRITE);
    auto& file = opened.value();
    std::vector<kj::byte> bytes(size);
    EXPECT_EQ(file->readNow(offset, kj::arrayPtr(bytes.data(), size)).value(), size);
    return bytes;
  }
  void overwrite(uint64_t offset, const std::vector<kj::byte>& bytes) {
    auto disk = volume.open();
    auto opened = disk->open(chunkPath(key), Disk::Mode::READ_WRITE);
    auto& file = opened.value();
    ASSERT_TRUE(file->write(offset, kj::arrayPtr(bytes.data(), bytes.size())).ok());
    ASSERT_TRUE(file->syncNow().ok());
  }

  const ChunkKey key = keyOf(1);
  const std::vector<kj::byte> data = pattern(7, BYTES);
};

TEST(StoreRot, underThePageCacheIsNotForgottenForALookAtTheCache) {
  RotWorld w(1);
  ASSERT_TRUE(w.volume.rotUnderCache(chunkPath(w.key), w.blockAt(3)));
  EXPECT_TRUE(w.describe(w.key).bad.empty()) << "only the device shows it";
  EXPECT_EQ(w.look().badBlocks, 1u);
  EXPECT_TRUE(w.describe(w.key).bad.empty()) << "the cache has the block, and it was written again from there";
  EXPECT_EQ(w.look().badBlocks, 0u) << "the rot was declared good and left on the disk";
  w.close();
  w.volume.dropCache();
  w.open();
  expectBytes(w, w.key, 0, w.data);
}

TEST(StoreRot, underThePageCacheStaysBadWhenTheCacheIsGone) {
  RotWorld w(2);
  ASSERT_TRUE(w.volume.rotUnderCache(chunkPath(w.key), w.blockAt(5)));
  EXPECT_EQ(w.look().badBlocks, 1u);
  w.volume.dropCache();
  EXPECT_EQ(w.describe(w.key).bad, std::vector<uint32_t>{5});
}

TEST(StoreRot, inTheNewestHeaderBringsNoOlderGenerationBack) {
  RotWorld w(3);
  w.context.generation = 1;
  ASSERT_TRUE(w.await(w.store().applyCuts(w.key.chunk, w.context)).ok());
  w.settle();
  w.context.generation = 2;
  w.context.cuts = {{2, 8 * BLOCK_BYTES}};
  ASSERT_TRUE(w.await(w.store().applyCuts(w.key.chunk, w.context)).ok());
  ASSERT_TRUE(w.write(w.key, 10 * BLOCK_BYTES, pattern(8, BLOCK_BYTES)).ok());
  w.settle();
  auto before = w.describe(w.key);
  w.close();
  auto front = w.stored(0, CHUNK_HEADER_BYTES);
  auto newest = findHeader(kj::arrayPtr(front.data(), front.size()));
  ASSERT_TRUE(newest.ok());
  ASSERT_EQ(newest.value().header.generation, 2u);
  ASSERT_TRUE(w.volume.rotAt(chunkPath(w.key), HEADER_SLOT_OFFSETS[newest.value().slot] + 40));
  w.open();
  auto after = w.describe(w.key);
  EXPECT_EQ(after.generation, 2u) << "an older header was believed";
  EXPECT_EQ(after.digest, before.digest);
  EXPECT_TRUE(after.bad.empty());
  // A caller who still brings the cut must not make it cut what was written after it.
  ASSERT_TRUE(w.write(w.key, 0, pattern(9, BLOCK_BYTES)).ok());
  expectBytes(w, w.key, 10 * BLOCK_BYTES, pattern(8, BLOCK_BYTES));
}

// Both the blocks and their checksums are as they were before: each matches, and all is old.
TEST(StoreRot, writesLostTogetherWithTheirChecksumsAreNotBelieved) {
  RotWorld w(4);
  uint64_t front = w.blockAt(0);
  auto old = w.stored(0, front + BYTES);
  ASSERT_TRUE(w.write(w.key, 2 * BLOCK_BYTES, pattern(11, 3 * BLOCK_BYTES)).ok());
  w.settle();
  w.close();
  std::vector<kj::byte> lost(old.begin() + CHUNK_HEADER_BYTES, old.end());
  w.overwrite(CHUNK_HEADER_BYTES, lost);
  w.open();
  auto found = w.describe(w.key);
  EXPECT_EQ(found.bad.size(), BLOCKS) << "nobody knows which of them are old";
  EXPECT_EQ(w.read(w.key, 0, BYTES).unreadable.size(), BLOCKS) << "old bytes were served as if they were new";
}

// One damaged checksum is one bad block, for the others are proven by the record's digest.
TEST(StoreRot, inOneChecksumCostsOneBlock) {
  for (uint32_t block : {0u, 7u, BLOCKS - 1}) {
    RotWorld w(5 + block);
    w.close();
    ASSERT_TRUE(w.volume.rotAt(chunkPath(w.key), sumsOffset(block)));
    w.open();
    EXPECT_EQ(w.describe(w.key).bad, std::vector<uint32_t>{block});
  }
}

}  // namespace
}  // namespace cairn
