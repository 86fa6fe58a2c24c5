// Chunks of deleted files: out of service at once, out of the way when the room is wanted, gone after a while.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

constexpr size_t SMALL = 100;
constexpr size_t LARGE = 300'000;  // 74 blocks
constexpr uint64_t SMALL_BLOCKS = 1, LARGE_BLOCKS = 74;
constexpr int64_t RETAIN_SECONDS = 100;

struct Retiring : StoreWorld {
  explicit Retiring(uint64_t seed) : StoreWorld(seed) { options.retainSeconds = RETAIN_SECONDS; }

  void put(ChunkKey key, size_t size) {
    ASSERT_TRUE(write(key, 0, pattern(raw(key.chunk.object), size)).ok());
    ASSERT_TRUE(sync(key).ok());
  }
  void retire(ChunkKey key) {
    ASSERT_TRUE(await(store().retire(key)).ok());
    ASSERT_TRUE(sync(key).ok());
  }
  uint64_t retiredBlocks() { return store().space().retiredBytes / BLOCK_BYTES; }
  size_t keptFiles() { return volume.open()->list("deleted").value().size(); }
  bool isThere(ChunkKey key) { return describe(key).present; }
};

TEST(StoreRetire, WhatIsDeletedIsKeptForAWhile) {
  Retiring w(1);
  w.open();
  w.put(keyOf(1), SMALL);
  w.put(keyOf(2), LARGE);
  w.retire(keyOf(1));
  w.retire(keyOf(2));
  EXPECT_FALSE(w.isThere(keyOf(1)));
  EXPECT_FALSE(w.isThere(keyOf(2)));
  EXPECT_EQ(w.store().space().usedBytes, 0u);
  EXPECT_EQ(w.retiredBlocks(), SMALL_BLOCKS + LARGE_BLOCKS);
  EXPECT_EQ(w.keptFiles(), 1u);
  w.maintainFor((RETAIN_SECONDS - 10) * SECOND);
  EXPECT_EQ(w.retiredBlocks(), SMALL_BLOCKS + LARGE_BLOCKS);
  w.maintainFor(20 * SECOND);
  EXPECT_EQ(w.retiredBlocks(), 0u);
  EXPECT_EQ(w.keptFiles(), 0u);
}

TEST(StoreRetire, OutlivesAStopAndAPowerCut) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Retiring w(seed);
    w.open();
    w.put(keyOf(1), SMALL);
    w.put(keyOf(2), LARGE);
    w.put(keyOf(3), SMALL);
    w.retire(keyOf(1));
    w.retire(keyOf(2));
    w.cutPower();
    w.open();
    ASSERT_TRUE(w.await(w.store().recheck()).ok());
    EXPECT_EQ(w.retiredBlocks(), SMALL_BLOCKS + LARGE_BLOCKS);
    EXPECT_FALSE(w.isThere(keyOf(1)));
    EXPECT_FALSE(w.isThere(keyOf(2)));
    w.close();
    w.open();
    EXPECT_EQ(w.retiredBlocks(), SMALL_BLOCKS + LARGE_BLOCKS);
    w.maintainFor((RETAIN_SECONDS + 10) * SECOND);
    EXPECT_EQ(w.retiredBlocks(), 0u);
    EXPECT_TRUE(w.isThere(keyOf(3)));
  }
}

TEST(StoreRetire, GivesWayToNewDataOldestFirst) {
  Retiring w(3);
  w.options.capacityLimit = 10 << 20;
  w.open();
  constexpr size_t PIECE = 1 << 20;
  for (uint64_t object = 1; object <= 9; ++object) {
    w.put(keyOf(object), PIECE);
  }
  w.retire(keyOf(1));
  w.maintainFor(3 * SECOND);
  w.retire(keyOf(2));
  EXPECT_EQ(w.store().space().availableBytes / PIECE, 2u) << "deleted is as good as free";
  EXPECT_EQ(w.retiredBlocks(), 2 * PIECE / BLOCK_BYTES);
  w.put(keyOf(21), PIECE);
  EXPECT_EQ(w.retiredBlocks(), PIECE / BLOCK_BYTES);
  auto left = w.volume.open()->list("deleted").value();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0].find("0000000000000002-"), std::string::npos) << left[0];
  w.put(keyOf(22), PIECE);
  EXPECT_EQ(w.retiredBlocks(), 0u);
  EXPECT_EQ(w.write(keyOf(23), 0, pattern(1, PIECE)).code(), ENOSPC);
}

TEST(StoreRetire, AChunkThatComesAgainIsItsOwn) {
  Retiring w(4);
  w.open();
  w.put(keyOf(1), SMALL);
  w.retire(keyOf(1));
  w.maintainFor(10 * SECOND);
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(99, SMALL)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.maintainFor((RETAIN_SECONDS + 10) * SECOND);
  EXPECT_EQ(w.retiredBlocks(), 0u);
  w.close();
  w.open();
  auto read = w.read(keyOf(1), 0, BLOCK_BYTES);
  EXPECT_TRUE(read.unreadable.empty());
  read.bytes.resize(SMALL);
  EXPECT_EQ(read.bytes, pattern(99, SMALL));
}

TEST(StoreRetire, AFileIsKnownToAnIndexMadeAnew) {
  for (bool aside : {false, true}) {
    SCOPED_TRACE(aside ? "while others are served" : "at the start");
    Retiring w(5);
    w.open();
    w.put(keyOf(1), LARGE);
    w.put(keyOf(2), LARGE);
    w.retire(keyOf(1));
    w.close();
    auto disk = w.volume.open();
    ASSERT_TRUE(disk->open("index.damaged", Disk::Mode::CREATE).ok());
    w.options.rebuildLater = aside;
    w.open();
    ASSERT_TRUE(w.await(w.store().finishOpening()).ok());
    EXPECT_TRUE(w.store().indexRebuilt());
    EXPECT_GE(w.retiredBlocks(), LARGE_BLOCKS);
    EXPECT_FALSE(w.isThere(keyOf(1)));
    EXPECT_TRUE(w.isThere(keyOf(2)));
    w.maintainFor((RETAIN_SECONDS + 10) * SECOND);
    EXPECT_EQ(w.keptFiles(), 0u);
  }
}

TEST(StoreRetire, KeepsNothingWhenToldSo) {
  Retiring w(6);
  w.options.retainSeconds = 0;
  w.open();
  w.put(keyOf(1), LARGE);
  w.retire(keyOf(1));
  EXPECT_EQ(w.retiredBlocks(), 0u);
  EXPECT_EQ(w.keptFiles(), 0u);
}

}  // namespace
}  // namespace cairn
