// A volume's chunks as wholes: images, removal, lists, space.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

// ---- whole chunks ----

TEST(StoreImage, CarriesAChunkToAnotherVolume) {
  for (size_t size : {size_t{0}, size_t{10'000}, size_t{60'000}, size_t{300'000}}) {
    World world(40);
    StoreWorld from(world, "from");
    StoreWorld to(world, "to");
    from.open();
    to.open();
    from.context.epoch = Epoch{5};
    from.context.generation = 2;
    from.context.hints = ChunkHints{InodeId{77}, 0100600, 1, 2, "a/b"};
    ASSERT_TRUE(from.write(keyOf(1), 0, pattern(1, size + 1)).ok());
    ASSERT_TRUE(from.punch(keyOf(1), 4096, 8192).ok());
    ASSERT_TRUE(to.write(keyOf(1), 100'000, pattern(9, 100'000)).ok());  // something else is there already
    TestTarget target;
    auto image = from.await(from.store().image(keyOf(1), target));
    ASSERT_TRUE(image.ok());
    EXPECT_EQ(image.value().sums, target.checksums);
    ImageView view;
    view.chunkBits = image.value().chunkBits;
    view.generation = image.value().generation;
    view.lastEpoch = image.value().lastEpoch;
    view.hints = &image.value().hints;
    view.sums = kj::arrayPtr(target.checksums.data(), target.checksums.size());
    view.bytes = kj::arrayPtr(target.data.data(), target.data.size());
    ASSERT_TRUE(to.await(to.store().install(keyOf(1), view)).ok());
    ASSERT_TRUE(to.sync(keyOf(1)).ok());
    to.close();
    to.open();
    auto a = from.describe(keyOf(1));
    auto b = to.describe(keyOf(1));
    EXPECT_EQ(a.digest, b.digest);
    EXPECT_EQ(a.sums, b.sums);
    EXPECT_EQ(b.lastEpoch, Epoch{5});
    EXPECT_EQ(b.generation, 2u);
    EXPECT_EQ(b.hints.path, "a/b");
    EXPECT_EQ(from.read(keyOf(1), 0, 1 << 20).bytes, to.read(keyOf(1), 0, 1 << 20).bytes);
  }
}

TEST(StoreImage, ADamagedOneIsRefused) {
  StoreWorld w(42);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(3, 100)).ok());
  auto data = pattern(1, 8192);
  uint64_t sums[] = {blockChecksum(kj::arrayPtr(data.data(), 4096)), 0,
                     blockChecksum(kj::arrayPtr(data.data() + 4096, 4096))};
  data[5000] ^= 1;
  ImageView view;
  view.sums = sums;
  view.bytes = kj::arrayPtr(data.data(), data.size());
  EXPECT_EQ(w.await(w.store().install(keyOf(1), view)).code(), EBADMSG);
  expectBytes(w, keyOf(1), 0, pattern(3, 100));
  // Unless it is said to be bad: then it is kept as a bad one.
  uint32_t bad[] = {2};
  view.badBlocks = bad;
  ASSERT_TRUE(w.await(w.store().install(keyOf(1), view)).ok());
  EXPECT_EQ(w.describe(keyOf(1)).bad, std::vector<uint32_t>{2});
  EXPECT_EQ(w.store().counters().badBlocks, 1u);
  view.bytes = kj::arrayPtr(data.data(), 4096);
  EXPECT_EQ(w.await(w.store().install(keyOf(1), view)).code(), EINVAL);
}

TEST(StoreImage, DigestTellsBytesAllocationAndGeneration) {
  StoreWorld w(43);
  w.open();
  auto digest = [&w](uint64_t object) { return w.describe(keyOf(object)).digest; };
  // The same by another way.
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 200'000)).ok());
  ASSERT_TRUE(w.punch(keyOf(1), 100'352, 104'448).ok());
  ASSERT_TRUE(w.write(keyOf(2), 0, pattern(5, 100'352)).ok());
  auto same = pattern(1, 200'000);
  same.resize(100'352);
  ASSERT_TRUE(w.write(keyOf(2), 0, same).ok());
  ASSERT_TRUE(w.punch(keyOf(1), 98'304, 98'304).ok());
  ASSERT_TRUE(w.punch(keyOf(2), 98'304, 98'304).ok());
  EXPECT_EQ(digest(1), digest(2));
  ASSERT_TRUE(w.write(keyOf(2), 1 << 20, zeros(4096)).ok());
  EXPECT_NE(digest(1), digest(2)) << "zeros that are there";
  ASSERT_TRUE(w.punch(keyOf(2), 1 << 20, 4096).ok());
  EXPECT_EQ(digest(1), digest(2));
  w.context.generation = 1;
  ASSERT_TRUE(w.await(w.store().applyCuts(keyOf(2).chunk, w.context)).ok());
  EXPECT_NE(digest(1), digest(2)) << "another generation";
}

// ---- removal ----

TEST(StoreRemove, GoesAndStaysAway) {
  StoreWorld w(50);
  w.open();
  for (uint64_t object : {1ull, 2ull}) {
    size_t size = object == 1 ? 1000 : 300'000;
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, size)).ok());
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
    auto removed = w.await(w.store().remove(keyOf(object)));
    ASSERT_TRUE(removed.ok());
    EXPECT_EQ(removed.value().allocatedDelta, -static_cast<int64_t>((size + 4095) / 4096 * 4096));
    expectBytes(w, keyOf(object), 0, zeros(8192));
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
  }
  EXPECT_FALSE(w.volume.open()->exists(chunkPath(keyOf(2))));
  EXPECT_EQ(w.store().space().usedBytes, 0u);
  w.cutPower();
  w.open();
  ASSERT_TRUE(w.await(w.store().recheck()).ok());
  EXPECT_FALSE(w.describe(keyOf(1)).present);
  EXPECT_FALSE(w.describe(keyOf(2)).present);
  EXPECT_EQ(w.await(w.store().remove(keyOf(2))).code(), 0);
}

TEST(StoreRemove, MadeAgainAtOnce) {
  StoreWorld w(51);
  w.open();
  for (size_t before : {size_t{1000}, size_t{300'000}}) {
    for (size_t after : {size_t{1000}, size_t{200'000}}) {
      ChunkKey key = keyOf(before + after);
      ASSERT_TRUE(w.write(key, 0, pattern(1, before)).ok());
      ASSERT_TRUE(w.sync(key).ok());
      ASSERT_TRUE(w.await(w.store().remove(key)).ok());
      ASSERT_TRUE(w.write(key, 8192, pattern(2, after)).ok());
      ASSERT_TRUE(w.sync(key).ok());
      w.maintainFor(3 * SECOND);
      w.kill();
      w.open();
      expectBytes(w, key, 0, zeros(8192));
      expectBytes(w, key, 8192, pattern(2, after));
    }
  }
}

TEST(StoreRemove, QuarantineKeepsTheBytesForAWhile) {
  StoreWorld w(52);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 1000)).ok());
  ASSERT_TRUE(w.write(keyOf(2), 0, pattern(2, 300'000)).ok());
  for (uint64_t object : {1ull, 2ull}) {
    ASSERT_TRUE(w.await(w.store().quarantine(keyOf(object))).ok());
    EXPECT_FALSE(w.describe(keyOf(object)).present);
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
  }
  auto disk = w.volume.open();
  auto names = disk->list("quarantine").value();
  ASSERT_EQ(names.size(), 2u);
  for (auto& name : names) {
    auto bytes = readWholeFile(*disk, "quarantine/" + name, 1 << 22).value();
    bool small = name.find("0001-") != std::string::npos;
    size_t used = 0;
    auto header = decodeHeader(std::string_view(reinterpret_cast<const char*>(bytes.begin()), bytes.size()), used);
    ASSERT_TRUE(header.ok()) << name;
    EXPECT_EQ(header.value().key, keyOf(small ? 1 : 2));
  }
  EXPECT_EQ(w.store().counters().quarantined, 2u);
  w.world.clock().stepWall(8 * 24 * 3600 * SECOND);
  w.world.runFor(2 * 3600 * SECOND);
  w.maintainFor(2 * SECOND);
  EXPECT_TRUE(disk->list("quarantine").value().empty());
}

// ---- lists ----

TEST(StoreLists, ChangedSinceOrDirtyInOrder) {
  StoreWorld w(60);
  w.open();
  for (uint64_t object = 1; object <= 6; object++) {
    w.context.epoch = Epoch{object};
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, object % 2 == 0 ? 100 : 100'000)).ok());
    ASSERT_TRUE(w.sync(keyOf(object)).ok());
  }
  w.maintainFor(25 * SECOND);
  ASSERT_EQ(w.store().counters().dirtyChunks, 0u);
  w.context.epoch = Epoch{2};
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(9, 100)).ok());
  auto list = [&w](Epoch since, const ChunkId* after, uint32_t limit) {
    auto page = w.await(w.store().enumerate(TEST_SHARD, since, after, limit));
    EXPECT_TRUE(page.ok());
    return page.value();
  };
  auto page = list(Epoch{4}, nullptr, 100);
  EXPECT_TRUE(page.end);
  ASSERT_EQ(page.chunks.size(), 4u);
  EXPECT_EQ(page.chunks[0].chunk, keyOf(1).chunk);
  EXPECT_TRUE(page.chunks[0].dirty);
  EXPECT_EQ(page.chunks[0].lastEpoch, Epoch{2});
  EXPECT_EQ(page.chunks[1].chunk, keyOf(4).chunk);
  EXPECT_FALSE(page.chunks[1].dirty);
  for (auto& summary : page.chunks) {
    auto described = w.describe(ChunkKey{TEST_SHARD, summary.chunk});
    EXPECT_EQ(summary.digest, described.digest);
    EXPECT_EQ(summary.allocatedBytes, described.allocatedBytes);
    EXPECT_EQ(summary.generation, described.generation);
  }
  // The same in small pages.
  std::vector<ChunkId> found;
  ChunkPage some = list(Epoch{}, nullptr, 2);
  while (true) {
    for (auto& summary : some.chunks) {
      found.push_back(summary.chunk);
    }
    if (some.end) {
      break;
    }
    ASSERT_EQ(some.chunks.size(), 2u);
    ChunkId after = found.back();
    some = list(Epoch{}, &after, 2);
  }
  EXPECT_EQ(found.size(), 6u);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
  EXPECT_EQ(w.store().dirtyChunks(TEST_SHARD), std::vector<ChunkId>{keyOf(1).chunk});
}

TEST(StoreLists, ManyChunksOfManyShards) {
  StoreWorld w(61);
  w.open();
  for (uint32_t shard : {1u, 5u, 9u}) {
    w.context.shard = ShardId{shard};
    for (uint64_t object = 1; object <= 1200; object++) {
      TestPiece piece(0, pattern(object, 10));
      WritePiece wire = piece.piece();
      ChunkId chunk{ObjectId{object % 3 + 1}, static_cast<uint32_t>(object)};
      ASSERT_TRUE(w.await(w.store().write(chunk, w.context, kj::arrayPtr(&wire, 1))).ok());
    }
  }
  ASSERT_TRUE(w.await(w.store().setInSync({{ShardId{7}, Epoch{1}}, {ShardId{5}, Epoch{2}}})).ok());
  EXPECT_EQ(w.store().shards().value(), (std::vector<ShardId>{ShardId{1}, ShardId{5}, ShardId{7}, ShardId{9}}));
  EXPECT_EQ(w.store().chunksOf(ShardId{5}, ObjectId{2}).value().size(), 400u);
  EXPECT_TRUE(w.store().chunksOf(ShardId{6}, ObjectId{2}).value().empty());
  auto page = w.await(w.store().enumerate(ShardId{9}, Epoch{}, nullptr, 5000));
  EXPECT_EQ(page.value().chunks.size(), 1200u);
  EXPECT_TRUE(page.value().end);
  EXPECT_EQ(w.await(w.store().enumerate(ShardId{8}, Epoch{}, nullptr, 5000)).value().chunks.size(), 0u);
}

TEST(StoreLists, InSyncMarksAreDurable) {
  StoreWorld w(62);
  w.open();
  ASSERT_TRUE(w.await(w.store().setInSync({{ShardId{1}, Epoch{5}}, {ShardId{2}, Epoch{6}}})).ok());
  ASSERT_TRUE(w.await(w.store().setInSync({{ShardId{1}, Epoch{7}}, {ShardId{2}, Epoch{}}})).ok());
  w.cutPower();
  w.open();
  EXPECT_EQ(w.store().inSync(ShardId{1}), Epoch{7});
  EXPECT_EQ(w.store().inSync(ShardId{2}), Epoch{});
  EXPECT_EQ(w.store().shards().value(), std::vector<ShardId>{ShardId{1}});
}

// ---- space ----

TEST(StoreSpace, FullMeansNoNewBlocksAndNothingElse) {
  for (bool byDisk : {false, true}) {
    StoreWorld w(70);
    if (byDisk) {
      w.volume.setCapacity(64 << 20);
    } else {
      w.options.capacityLimit = 10 << 20;
    }
    w.open();
    uint64_t object = 1;
    while (w.write(keyOf(object), 0, pattern(object, 500'000)).ok()) {
      ASSERT_TRUE(w.sync(keyOf(object)).ok());
      ASSERT_LT(++object, 1000u);
    }
    EXPECT_EQ(w.write(keyOf(object), 0, pattern(1, 500'000)).code(), ENOSPC);
    EXPECT_FALSE(w.describe(keyOf(object)).present);
    auto space = w.store().space();
    EXPECT_GE(space.usedBytes, byDisk ? 56u << 20 : 9u << 20);
    EXPECT_GE(space.takenBytes, space.usedBytes);
    EXPECT_GE(space.takenBytes, space.totalBytes / 100 * 85);
    EXPECT_LE(space.takenBytes, space.totalBytes / 100 * 96) << "what was refused isn't counted, nothing twice";
    EXPECT_LT(space.availableBytes, 600'000u);
    // Little ones until nothing at all goes in.
    while (w.write(keyOf(object), 0, pattern(object, 100)).ok()) {
      ASSERT_LT(++object, 1000u);
    }
    EXPECT_TRUE(w.store().space().full);
    ASSERT_TRUE(w.write(keyOf(1), 1000, pattern(2, 100'000)).ok()) << "overwrite";
    EXPECT_EQ(w.write(keyOf(1), 490'000, pattern(2, 100'000)).code(), ENOSPC) << "append";
    expectBytes(w, keyOf(1), 1000, pattern(2, 100'000));
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    ASSERT_TRUE(w.await(w.store().setInSync({{TEST_SHARD, Epoch{2}}})).ok());
    ASSERT_TRUE(w.punch(keyOf(2), 0, 100'000).ok());
    w.context.generation = 1;
    w.context.cuts = {ChunkCut{1, 4096}};
    ASSERT_TRUE(w.await(w.store().applyCuts(keyOf(3).chunk, w.context)).ok());
    ASSERT_TRUE(w.await(w.store().remove(keyOf(4))).ok());
    for (uint64_t synced : {2ull, 3ull, 4ull}) {
      ASSERT_TRUE(w.sync(keyOf(synced)).ok());
    }
    w.maintainFor(2 * SECOND);
    EXPECT_TRUE(w.write(keyOf(object), 0, pattern(1, 500'000)).ok()) << "room again";
    if (byDisk) {
      while (w.write(keyOf(object), 0, pattern(1, 500'000)).ok()) {
        ++object;
      }
      w.volume.setCapacity(80 << 20);
      EXPECT_TRUE(w.write(keyOf(object), 0, pattern(1, 500'000)).ok()) << "room made by others counts at once";
    }
    EXPECT_TRUE(w.store().health().ok());
  }
}

TEST(StoreSpace, CountsAreRightAfterEveryKindOfStop) {
  StoreWorld w(71);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 1000)).ok());
  ASSERT_TRUE(w.write(keyOf(2), 0, pattern(2, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  ASSERT_TRUE(w.sync(keyOf(2)).ok());
  uint64_t used = w.store().space().usedBytes;
  EXPECT_EQ(used, 75u * 4096);
  w.close();
  w.open();
  EXPECT_EQ(w.store().space().usedBytes, used);
  ASSERT_TRUE(w.write(keyOf(2), 300'000, pattern(3, 300'000)).ok());
  w.kill();
  w.open();
  ASSERT_TRUE(w.await(w.store().recheck()).ok());
  EXPECT_EQ(w.store().space().usedBytes, 148u * 4096);
}

}  // namespace
}  // namespace cairn
