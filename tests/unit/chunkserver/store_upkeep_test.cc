// What a volume does around its chunks: dirty marks, shared syncs, rechecks, bad blocks, bounded memory.
#include "chunkserver/store/dirty_set.h"
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

// ---- dirty marks ----

TEST(StoreMarks, AreClearedAtRestAndNotBefore) {
  StoreWorld w(1);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 1000)).ok());
  ASSERT_TRUE(w.write(keyOf(2), 0, pattern(1, 300'000)).ok());
  for (uint64_t object : {1ull, 2ull}) {
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
  }
  w.maintainFor(8 * SECOND);
  EXPECT_EQ(w.store().dirtyChunks(TEST_SHARD).size(), 2u);
  w.maintainFor(4 * SECOND);
  EXPECT_EQ(w.store().dirtyChunks(TEST_SHARD).size(), 0u);
  EXPECT_FALSE(w.describe(keyOf(2)).dirty);
  w.cutPower();
  w.open();
  EXPECT_TRUE(w.store().stoppedUnclean());
  EXPECT_TRUE(w.read(keyOf(2), 0, 303'104).unreadable.empty());
}

TEST(StoreMarks, WhatNobodySyncsIsSyncedBySomebody) {
  StoreWorld w(2);
  w.open();
  auto data = pattern(1, 300'000);
  ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
  ASSERT_TRUE(w.write(keyOf(2), 0, pattern(2, 100)).ok());
  w.maintainFor(12 * SECOND);
  EXPECT_EQ(w.store().counters().fileSyncs, 1u);
  w.cutPower();
  w.open();
  auto read = w.read(keyOf(1), 0, 303'104);
  EXPECT_TRUE(read.unreadable.empty());
  read.bytes.resize(data.size());
  EXPECT_EQ(read.bytes, data);
  EXPECT_TRUE(w.describe(keyOf(2)).present);
}

TEST(StoreMarks, AChunkThatIsNeverAtRestIsSyncedAllTheSame) {
  StoreWorld w(3);
  w.open();
  for (int i = 0; i < 35; i++) {
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
    w.maintainFor(SECOND);
  }
  EXPECT_GE(w.store().counters().fileSyncs, 1u);
  EXPECT_EQ(w.store().counters().dirtyChunks, 1u);
}

TEST(StoreMarks, AMarkIsDurableBeforeTheFirstByteUnderIt) {
  for (uint64_t seed = 1; seed < 100; seed++) {
    StoreWorld w(seed);
    w.open();
    w.context.epoch = Epoch{4};
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    w.maintainFor(25 * SECOND);
    ASSERT_EQ(w.store().counters().dirtyChunks, 0u);
    uint64_t digest = w.describe(keyOf(1)).digest;
    w.context.epoch = Epoch{6};
    TestPiece piece(0, pattern(2, 200'000));
    WritePiece wire = piece.piece();
    auto task = w.store().write(keyOf(1).chunk, w.context, kj::arrayPtr(&wire, 1)).promise();
    w.world.runFor(static_cast<Nanos>(seed) * 20 * MICROSECOND);
    task = nullptr;
    w.cutPower();
    w.open();
    auto found = w.describe(keyOf(1));
    bool changed = found.digest != digest || !found.torn.empty();
    ASSERT_TRUE(found.bad.empty()) << seed;
    ASSERT_TRUE(!changed || (found.dirty && found.lastEpoch == Epoch{6})) << "seed " << seed;
  }
}

TEST(StoreMarks, ANewEpochRaisesTheMarkFirst) {
  StoreWorld w(5);
  w.open();
  w.context.epoch = Epoch{4};
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.context.epoch = Epoch{9};
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(2, 4096)).ok());
  w.cutPower();
  w.open();
  EXPECT_EQ(w.describe(keyOf(1)).lastEpoch, Epoch{9});
}

// ---- syncs ----

TEST(StoreSync, AnOverwriteCostsOneSyncOfOneFile) {
  StoreWorld w(10);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 1 << 20)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  for (unsigned i = 0; i < 10; i++) {
    auto before = w.store().counters();
    ASSERT_TRUE(w.write(keyOf(1), i * 4096, pattern(i, 4096)).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    auto after = w.store().counters();
    EXPECT_EQ(after.fileSyncs, before.fileSyncs + 1);
    EXPECT_EQ(after.indexSyncs, before.indexSyncs);
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    EXPECT_EQ(w.store().counters().fileSyncs, after.fileSyncs) << "nothing to sync, and it synced";
  }
}

TEST(StoreSync, ThoseWhoWaitTogetherShareOne) {
  StoreWorld w(11);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(2, 4096)).ok());
  for (uint64_t object = 10; object < 60; object++) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, 100)).ok());
  }
  auto before = w.store().counters();
  std::vector<kj::Promise<Status>> tasks;
  for (uint64_t object = 10; object < 60; object++) {
    tasks.push_back(w.store().sync(keyOf(object)));
    tasks.push_back(w.store().sync(keyOf(1)));
  }
  for (auto& task : tasks) {
    EXPECT_TRUE(w.await(Task<Status>(kj::mv(task))).ok());
  }
  auto after = w.store().counters();
  EXPECT_EQ(after.fileSyncs, before.fileSyncs + 1);
  EXPECT_LE(after.indexSyncs, before.indexSyncs + 2);
  w.cutPower();
  w.open();
  for (uint64_t object = 10; object < 60; object++) {
    EXPECT_TRUE(w.describe(keyOf(object)).present);
  }
}

TEST(StoreSync, ASyncThatBeganBeforeTheWriteDoesNotCount) {
  for (uint64_t seed = 1; seed < 40; seed++) {
    StoreWorld w(seed);
    w.open();
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
    auto early = w.store().sync(keyOf(1)).promise();
    w.world.runFor(static_cast<Nanos>(seed) * 10 * MICROSECOND);
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(2, 300'000)).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    early = nullptr;
    w.cutPower();
    w.open();
    auto read = w.read(keyOf(1), 0, 4096 * 73);
    ASSERT_TRUE(read.unreadable.empty());
    auto expected = pattern(2, 300'000);
    expected.resize(4096 * 73);
    ASSERT_EQ(read.bytes, expected) << seed;
  }
}

TEST(StoreSync, AFailedOneIsFinal) {
  StoreWorld w(12);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  SimFaults faults;
  faults.syncError = 1'000'000;
  faults.befalls = [](const std::string& path) { return path.starts_with("chunks/"); };
  w.volume.setFaults(faults);
  auto failed = w.store().whenFailed();
  EXPECT_EQ(w.sync(keyOf(1)).code(), EIO);
  w.volume.setFaults(SimFaults());
  EXPECT_TRUE(failed.poll(w.world.waitScope()));
  EXPECT_EQ(w.sync(keyOf(1)).code(), EIO);
  EXPECT_EQ(w.write(keyOf(2), 0, pattern(1, 10)).code(), EIO);
  EXPECT_EQ(w.await(w.store().maintain()).code(), EIO);
  EXPECT_EQ(w.await(w.store().close()).code(), EIO);
  EXPECT_FALSE(w.store().health().error().why.empty());
}

// ---- after an unclean stop ----

// A volume with a chunk torn in some block; returns its description.
ChunkDescription tear(StoreWorld& w) {
  for (unsigned tries = 0; tries < 100; tries++) {
    EXPECT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
    EXPECT_TRUE(w.sync(keyOf(1)).ok());
    EXPECT_TRUE(w.write(keyOf(1), 0, pattern(2, 300'000)).ok());
    w.cutPower();
    w.open();
    EXPECT_TRUE(w.await(w.store().recheck()).ok());
    auto found = w.describe(keyOf(1));
    EXPECT_TRUE(found.bad.empty());
    if (!found.torn.empty()) {
      return found;
    }
  }
  ADD_FAILURE() << "never torn";
  return {};
}

TEST(StoreRecheck, TornBlocksAreFoundAndAdopted) {
  StoreWorld w(20);
  w.open();
  auto found = tear(w);
  EXPECT_EQ(w.store().counters().uncheckedChunks, 0u);
  EXPECT_EQ(w.store().counters().tornBlocks, found.torn.size());
  auto unreadable = w.read(keyOf(1), 0, 303'104).unreadable;
  EXPECT_EQ(unreadable, found.torn);
  EXPECT_EQ(w.write(keyOf(1), found.torn[0] * BLOCK_BYTES + 7, pattern(3, 10)).code(), EUCLEAN);
  // A torn chunk keeps its mark, however long it rests.
  w.maintainFor(30 * SECOND);
  EXPECT_EQ(w.store().counters().dirtyChunks, 1u);
  // Written whole it is whole.
  ASSERT_TRUE(w.write(keyOf(1), found.torn[0] * BLOCK_BYTES, pattern(3, 4096)).ok());
  EXPECT_EQ(w.store().counters().tornBlocks, found.torn.size() - 1);
  auto adopted = w.await(w.store().adopt(keyOf(1), kj::arrayPtr(found.torn.data(), found.torn.size()), Epoch{2}));
  ASSERT_TRUE(adopted.ok());
  EXPECT_EQ(w.store().counters().adoptedBlocks, found.torn.size() - 1);
  EXPECT_EQ(w.store().counters().tornBlocks, 0u);
  EXPECT_TRUE(w.read(keyOf(1), 0, 303'104).unreadable.empty());
  w.maintainFor(30 * SECOND);
  EXPECT_EQ(w.store().counters().dirtyChunks, 0u);
}

TEST(StoreRecheck, WhatNobodyCanMendIsRot) {
  StoreWorld w(21);
  w.open();
  auto found = tear(w);
  auto torn = kj::arrayPtr(found.torn.data(), found.torn.size());
  auto bad = w.await(w.store().verifyBlocks(keyOf(1), torn));
  ASSERT_TRUE(bad.ok());
  EXPECT_EQ(bad.value(), found.torn);
  EXPECT_EQ(w.store().counters().tornBlocks, 0u);
  EXPECT_EQ(w.store().counters().badBlocks, found.torn.size());
  w.cutPower();
  w.open();
  EXPECT_EQ(w.describe(keyOf(1)).bad, found.torn);
  EXPECT_EQ(w.store().badChunks(10).value(), std::vector<ChunkKey>{keyOf(1)});
}

TEST(StoreRecheck, FilesThatNobodyKnowsGoIntoQuarantine) {
  StoreWorld w(22);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.kill();
  auto disk = w.volume.open();
  ASSERT_TRUE(disk->open(chunkPath(keyOf(2)), Disk::Mode::CREATE).ok());
  w.open();
  ASSERT_TRUE(w.await(w.store().recheck()).ok());
  EXPECT_FALSE(disk->exists(chunkPath(keyOf(2))));
  EXPECT_TRUE(disk->exists(chunkPath(keyOf(1))));
  EXPECT_EQ(disk->list("quarantine").value().size(), 1u);
}

// ---- bad blocks ----

TEST(StoreRecheck, AListingForgetsWhatTheRecheckTakesAwayMeanwhile) {
  StoreWorld w(251);
  w.open();
  constexpr size_t LARGE = 96 << 10;
  for (uint64_t object : {1, 2}) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, LARGE)).ok());
  }
  w.world.runFor(SECOND);
  w.kill();
  // As a power cut may leave it: never synced, and its name is lost while its record isn't.
  ASSERT_TRUE(w.volume.open()->remove("chunks/00000003/0000000000000002-00000000").ok());
  w.volume.dropCache();
  w.open();
  auto listing = w.store().enumerate(TEST_SHARD, Epoch{}, nullptr, 100).promise();  // waits for the first one's file
  auto second = w.await(w.store().summary(keyOf(2)));
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second.value().present);
  auto listed = w.world.await(kj::mv(listing), PATIENCE);
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed.value().chunks.size(), 1u) << "lists a chunk that isn't here";
  EXPECT_EQ(raw(listed.value().chunks[0].chunk.object), 1u);
}

TEST(StoreBad, RotIsFoundOnceAndRemembered) {
  StoreWorld w(30);
  w.open();
  auto data = pattern(1, 300'000);
  ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.maintainFor(25 * SECOND);
  uint32_t asked[] = {5, 9};
  EXPECT_TRUE(w.await(w.store().verifyBlocks(keyOf(1), asked)).value().empty()) << "a reader who was wrong";
  ASSERT_TRUE(w.volume.rotAt(chunkPath(keyOf(1)), blockOffset(DEFAULT_CHUNK_BITS, 9) + 77));
  EXPECT_EQ(w.read(keyOf(1), 0, 303'104).unreadable, std::vector<uint32_t>{9});
  EXPECT_EQ(w.await(w.store().verifyBlocks(keyOf(1), asked)).value(), std::vector<uint32_t>{9});
  EXPECT_EQ(w.await(w.store().verifyBlocks(keyOf(1), asked)).value(), std::vector<uint32_t>{9});
  EXPECT_EQ(w.store().counters().badBlocksFound, 1u);
  EXPECT_EQ(w.write(keyOf(1), 9 * BLOCK_BYTES + 5, pattern(2, 10)).code(), EUCLEAN);
  EXPECT_EQ(w.punch(keyOf(1), 9 * BLOCK_BYTES + 5, 10).code(), EUCLEAN);
  w.close();
  w.open();
  EXPECT_EQ(w.store().counters().badBlocks, 1u);
  EXPECT_EQ(w.describe(keyOf(1)).bad, std::vector<uint32_t>{9});
  EXPECT_TRUE(w.describe(keyOf(1)).torn.empty());
  TestTarget target;
  auto image = w.await(w.store().image(keyOf(1), target));
  EXPECT_EQ(image.value().bad, std::vector<uint32_t>{9});
  // A punch over all of it, or a write of all of it, makes it good.
  ASSERT_TRUE(w.write(keyOf(1), 9 * BLOCK_BYTES, pattern(2, 4096)).ok());
  EXPECT_EQ(w.store().counters().badBlocks, 0u);
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.close();
  w.open();
  EXPECT_TRUE(w.store().badChunks(10).value().empty());
  EXPECT_TRUE(w.describe(keyOf(1)).bad.empty());
}

TEST(StoreBad, APartialWriteOverRotFindsItToo) {
  StoreWorld w(31);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  ASSERT_TRUE(w.volume.rotAt(chunkPath(keyOf(1)), blockOffset(DEFAULT_CHUNK_BITS, 3)));
  EXPECT_EQ(w.write(keyOf(1), 3 * BLOCK_BYTES + 100, pattern(2, 100)).code(), EUCLEAN);
  EXPECT_EQ(w.store().counters().badBlocks, 1u);
  EXPECT_EQ(w.write(keyOf(1), 2 * BLOCK_BYTES + 100, pattern(2, 4096)).code(), EUCLEAN) << "its head would change";
  auto expected = pattern(1, 300'000);
  expected.resize(2 * BLOCK_BYTES + 4096);
  auto read = w.read(keyOf(1), 2 * BLOCK_BYTES, BLOCK_BYTES);
  EXPECT_TRUE(std::equal(read.bytes.begin(), read.bytes.end(), expected.begin() + 2 * BLOCK_BYTES)) << "half a write";
}

TEST(StoreBad, LiesOfTheDeviceAreFound) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    StoreWorld w(seed);
    w.open();
    SimFaults faults;
    faults.seed = seed;
    (seed % 2 == 0 ? faults.lostWrite : faults.misdirectedWrite) = 100'000;
    faults.befalls = [](const std::string& path) { return path.starts_with("chunks/"); };
    w.volume.setFaults(faults);
    auto data = pattern(seed, 1'000'000);
    ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    w.close();
    w.volume.setFaults(SimFaults());
    w.volume.dropCache();
    w.open();
    auto read = w.read(keyOf(1), 0, 245 * BLOCK_BYTES);
    ASSERT_EQ(read.code, 0);
    data.resize(245 * BLOCK_BYTES);
    auto described = w.describe(keyOf(1));
    for (uint32_t block = 0; block < 245; block++) {
      bool told = std::binary_search(described.bad.begin(), described.bad.end(), block);
      bool same = memcmp(read.bytes.data() + block * 4096, data.data() + block * 4096, 4096) == 0;
      ASSERT_TRUE(same || told) << "seed " << seed << " block " << block;
    }
  }
}

// ---- memory ----

TEST(StoreMemory, StaysWithinItsBounds) {
  StoreWorld w(40);
  w.options.openFilesMax = 8;
  w.options.cachedBytesMax = 512 << 10;
  w.open();
  for (uint64_t object = 1; object <= 100; object++) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, 100'000)).ok());
    ASSERT_TRUE(w.write(keyOf(1000 + object), 0, pattern(object, 50'000)).ok());
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
    EXPECT_LE(w.store().counters().openFiles, 8u);
    EXPECT_LE(w.store().counters().cachedBytes, 512u << 10);
  }
  // Unsynced files can't be let go of, but they don't pile up either.
  for (uint64_t object = 1; object <= 100; object++) {
    ASSERT_TRUE(w.write(keyOf(object), 4096, pattern(object, 4096)).ok());
    EXPECT_LE(w.store().counters().openFiles, 16u);
  }
  for (uint64_t object = 1; object <= 100; object++) {
    auto read = w.read(keyOf(object), 0, 4096);
    EXPECT_TRUE(read.unreadable.empty());
    auto expected = pattern(object, 100'000);
    expected.resize(4096);
    EXPECT_EQ(read.bytes, expected);
    EXPECT_LE(w.store().counters().openFiles, 16u);
  }
}

TEST(StoreMemory, UnsyncedFilesKeepNobodyElseInMemory) {
  StoreWorld w(41);
  w.options.openFilesMax = 40;
  w.options.cachedBytesMax = 512 << 10;
  w.open();
  for (uint64_t object = 1; object <= 30; object++) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, 100'000)).ok());
  }
  for (uint64_t object = 100; object <= 400; object++) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, 20'000)).ok());
  }
  EXPECT_LE(w.store().counters().cachedBytes, 512u << 10);
  EXPECT_EQ(w.store().counters().openFiles, 30u);
}

// ---- parts ----

TEST(DirtySet, RestIsCountedFromTheLastChangeAndTheLastSync) {
  DirtySet set;
  set.changed(keyOf(1), Epoch{1}, 0);
  EXPECT_TRUE(set.toClear(100 * SECOND, false).empty()) << "not synced";
  EXPECT_TRUE(set.toSync(9 * SECOND, 10).empty());
  EXPECT_EQ(set.toSync(10 * SECOND, 10).size(), 1u);
  EXPECT_EQ(set.toSync(10 * SECOND, 0).size(), 0u);
  set.synced(keyOf(1), true, 12 * SECOND);
  EXPECT_TRUE(set.toClear(21 * SECOND, false).empty());
  EXPECT_EQ(set.toClear(22 * SECOND, false).size(), 1u);
  EXPECT_EQ(set.toClear(12 * SECOND, true).size(), 1u);
  set.changed(keyOf(1), Epoch{1}, 22 * SECOND);
  EXPECT_TRUE(set.toClear(100 * SECOND, true).empty());
  set.synced(keyOf(1), false, 23 * SECOND);
  EXPECT_TRUE(set.toClear(100 * SECOND, true).empty()) << "changed during the sync";
  set.synced(keyOf(1), true, 24 * SECOND);
  set.mark(keyOf(1)).torn = {1};
  EXPECT_TRUE(set.toClear(100 * SECOND, true).empty());
}

}  // namespace
}  // namespace cairn
