// A volume's chunks: writes, holes, cuts, growth, images, lists, space.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

std::vector<kj::byte> zeros(size_t size) {
  return std::vector<kj::byte>(size);
}

void expectBytes(StoreWorld& w, ChunkKey key, uint32_t offset, const std::vector<kj::byte>& bytes) {
  uint32_t first = offset / BLOCK_BYTES * BLOCK_BYTES;
  uint32_t end = (offset + static_cast<uint32_t>(bytes.size()) + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
  auto read = w.read(key, first, end - first);
  ASSERT_EQ(read.code, 0);
  EXPECT_TRUE(read.unreadable.empty());
  auto from = read.bytes.begin() + (offset - first);
  EXPECT_EQ(std::vector<kj::byte>(from, from + static_cast<ptrdiff_t>(bytes.size())), bytes);
}

// ---- writes ----

TEST(StoreWrite, SmallChunkReadsBack) {
  StoreWorld w(1);
  w.open();
  auto data = pattern(7, 1000);
  auto written = w.write(keyOf(5), 0, data);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written.value().allocatedDelta, 4096);
  expectBytes(w, keyOf(5), 0, data);
  expectBytes(w, keyOf(5), 1000, zeros(7000));
}

TEST(StoreWrite, LargeChunkReadsBackAfterRestart) {
  StoreWorld w(2);
  w.open();
  auto data = pattern(8, 1 << 20);
  ASSERT_TRUE(w.write(keyOf(5), 1 << 20, data).ok());
  ASSERT_TRUE(w.sync(keyOf(5)).ok());
  w.close();
  w.open();
  EXPECT_FALSE(w.store().stoppedUnclean());
  expectBytes(w, keyOf(5), 1 << 20, data);
  expectBytes(w, keyOf(5), 0, zeros(1 << 20));
  EXPECT_EQ(w.store().counters().dirtyChunks, 0u);
}

TEST(StoreWrite, IsDoneWhenTheCallReturns) {
  StoreWorld w(3);
  w.open();
  for (ChunkKey key : {keyOf(1), keyOf(2)}) {
    // New, then once more on what is there, in part: nothing of it has to wait.
    for (uint32_t offset : {0u, 70'000u, 100u}) {
      if (key == keyOf(1) && offset == 70'000) {
        continue;  // stays a small one
      }
      TestPiece piece(offset, pattern(offset, 3000));
      WritePiece wire = piece.piece();
      auto task = w.store().write(key.chunk, w.context, kj::arrayPtr(&wire, 1)).promise();
      EXPECT_TRUE(task.poll(w.world.waitScope())) << offset;
      EXPECT_TRUE(task.wait(w.world.waitScope()).ok());
    }
  }
}

TEST(StoreWrite, ApplyInTheOrderOfTheCalls) {
  StoreWorld w(4);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(0, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.maintainFor(25 * SECOND);
  ASSERT_EQ(w.store().counters().dirtyChunks, 0u);
  // The first has to wait for the dirty mark; the others come while it waits.
  std::vector<kj::Own<TestPiece>> pieces;
  std::vector<kj::Own<WritePiece>> wires;
  std::vector<kj::Promise<void>> tasks;
  std::vector<unsigned> order;
  for (unsigned i = 0; i < 5; i++) {
    pieces.push_back(kj::heap<TestPiece>(i * 1000, pattern(i + 1, 5000)));
    wires.push_back(kj::heap<WritePiece>(pieces.back()->piece()));
    tasks.push_back(w.store()
                        .write(keyOf(1).chunk, w.context, kj::arrayPtr(wires.back().get(), 1))
                        .promise()
                        .then([&order, i](Result<Applied> result) {
                          EXPECT_TRUE(result.ok());
                          order.push_back(i);
                        })
                        .eagerlyEvaluate(nullptr));
  }
  EXPECT_FALSE(tasks[0].poll(w.world.waitScope())) << "written before its mark was durable";
  for (auto& task : tasks) {
    w.await(Task<void>(kj::mv(task)));
  }
  EXPECT_EQ(order, (std::vector<unsigned>{0, 1, 2, 3, 4}));
  for (unsigned i = 0; i < 5; i++) {
    auto data = pattern(i + 1, 5000);
    data.resize(i == 4 ? 5000 : 1000);
    expectBytes(w, keyOf(1), i * 1000, data);
  }
}

TEST(StoreWrite, ADroppedTaskLeavesTheQueueInOrder) {
  StoreWorld w(5);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(0, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.maintainFor(25 * SECOND);
  TestPiece piece(0, pattern(1, 5000));
  WritePiece wire = piece.piece();
  for (unsigned dropped = 0; dropped < 3; dropped++) {
    std::vector<kj::Promise<Result<Applied>>> tasks;
    for (unsigned i = 0; i < 3; i++) {
      tasks.push_back(w.store().write(keyOf(1).chunk, w.context, kj::arrayPtr(&wire, 1)));
    }
    tasks.erase(tasks.begin() + dropped);
    for (auto& task : tasks) {
      EXPECT_TRUE(w.await(Task<Result<Applied>>(kj::mv(task))).ok());
    }
    w.maintainFor(25 * SECOND);
  }
}

TEST(StoreWrite, LaterPiecesWin) {
  StoreWorld w(6);
  w.open();
  TestPiece first(0, pattern(1, 12288));
  TestPiece second(6000, pattern(2, 1000));
  TestPiece third(8192, pattern(3, 4096));
  TestPiece fourth(8000, pattern(4, 500));
  WritePiece wires[] = {first.piece(), second.piece(), third.piece(), fourth.piece()};
  ASSERT_TRUE(w.await(w.store().write(keyOf(1).chunk, w.context, wires)).ok());
  auto expected = first.data;
  for (auto* piece : {&second, &third, &fourth}) {
    std::copy(piece->data.begin(), piece->data.end(), expected.begin() + piece->offset);
  }
  expectBytes(w, keyOf(1), 0, expected);
}

TEST(StoreWrite, DamageOnTheWayIsRefusedWhole) {
  StoreWorld w(7);
  w.open();
  for (uint32_t size : {3000u, 4096u, 200'000u}) {
    TestPiece good(0, pattern(1, 4096));
    TestPiece bad(4096, pattern(2, size));
    bad.data[size / 2] ^= 4;
    WritePiece wires[] = {good.piece(), bad.piece()};
    EXPECT_EQ(w.await(w.store().write(keyOf(size).chunk, w.context, wires)).code(), EBADMSG);
    EXPECT_FALSE(w.describe(keyOf(size)).present);
  }
}

TEST(StoreWrite, NonsenseIsRefused) {
  StoreWorld w(8);
  w.open();
  auto code = [&w](WritePiece piece) {
    return w.await(w.store().write(keyOf(1).chunk, w.context, kj::arrayPtr(&piece, 1))).code();
  };
  TestPiece beyond((1 << 22) - 100, pattern(1, 101));
  EXPECT_EQ(code(beyond.piece()), EINVAL);
  TestPiece few(100, pattern(1, 8000));
  few.sums.pop_back();
  EXPECT_EQ(code(few.piece()), EINVAL);
  TestPiece good(0, pattern(1, 100));
  w.context.chunkBits = 40;
  EXPECT_EQ(code(good.piece()), EINVAL);
  w.context.chunkBits = 20;
  EXPECT_EQ(code(good.piece()), 0);
  w.context.chunkBits = 22;
  EXPECT_EQ(code(good.piece()), EINVAL) << "another chunk size than it has";
  TestTarget target;
  EXPECT_EQ(w.await(w.store().read(keyOf(1).chunk, w.context, 100, 4096, target)).code(), EINVAL);
}

TEST(StoreWrite, SmallGrowsIntoAFileAndKeepsItsBytes) {
  StoreWorld w(9);
  w.open();
  auto small = pattern(1, 60'000);
  ASSERT_TRUE(w.write(keyOf(1), 0, small).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  auto disk = w.volume.open();
  EXPECT_FALSE(disk->exists(chunkPath(keyOf(1))));
  auto more = pattern(2, 10'000);
  auto written = w.write(keyOf(1), 60'000, more);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written.value().allocatedDelta, (18 - 15) * 4096);
  EXPECT_TRUE(disk->exists(chunkPath(keyOf(1))));
  expectBytes(w, keyOf(1), 0, small);
  expectBytes(w, keyOf(1), 60'000, more);
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  w.close();
  w.open();
  expectBytes(w, keyOf(1), 0, small);
  expectBytes(w, keyOf(1), 60'000, more);
}

TEST(StoreWrite, GrowthLostInAPowerCutLeavesTheSmallOne) {
  for (uint64_t seed = 1; seed < 60; seed++) {
    StoreWorld w(seed);
    w.open();
    auto small = pattern(1, 60'000);
    ASSERT_TRUE(w.write(keyOf(1), 0, small).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    ASSERT_TRUE(w.write(keyOf(1), 61'440, pattern(2, 40'960)).ok());
    w.world.runFor(static_cast<Nanos>(seed % 7) * MILLISECOND);
    w.cutPower();
    w.open();
    expectBytes(w, keyOf(1), 0, small);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

// ---- holes ----

TEST(StorePunch, ZerosAndFrees) {
  StoreWorld w(20);
  w.open();
  for (size_t size : {size_t{60'000}, size_t{300'000}}) {
    ChunkKey key = keyOf(size);
    auto data = pattern(1, size);
    ASSERT_TRUE(w.write(key, 0, data).ok());
    auto punched = w.punch(key, 5000, 20'000);
    ASSERT_TRUE(punched.ok());
    EXPECT_EQ(punched.value().allocatedDelta, -4 * 4096);
    std::fill_n(data.begin() + 5000, 20'000, 0);
    expectBytes(w, key, 0, data);
    auto map = w.await(w.store().allocated(key.chunk, w.context));
    ASSERT_TRUE(map.ok());
    EXPECT_TRUE(map.value()[1]);
    EXPECT_FALSE(map.value()[2]);
    EXPECT_TRUE(map.value()[6]);
    // To the end, and all of it.
    ASSERT_TRUE(w.punch(key, 8192, (1 << 22) - 8192).ok());
    EXPECT_EQ(w.describe(key).lengthBytes, 8192u);
    ASSERT_TRUE(w.punch(key, 0, 1 << 22).ok());
    EXPECT_EQ(w.describe(key).lengthBytes, 0u);
    EXPECT_TRUE(w.describe(key).present);
  }
  EXPECT_EQ(w.punch(keyOf(99), 0, 1 << 22).code(), 0) << "absent";
  EXPECT_FALSE(w.describe(keyOf(99)).present);
  EXPECT_EQ(w.punch(keyOf(1), 4096, 1 << 22).code(), EINVAL);
}

TEST(StorePunch, AHoleThatIsPunchedInPartStaysOne) {
  StoreWorld w(21);
  w.open();
  ASSERT_TRUE(w.write(keyOf(1), 20'480, pattern(1, 100)).ok());
  auto punched = w.punch(keyOf(1), 100, 1000);
  ASSERT_TRUE(punched.ok());
  EXPECT_EQ(punched.value().allocatedDelta, 0);
}

// ---- cuts ----

TEST(StoreCuts, DeadBytesAreNeverSeen) {
  for (size_t size : {size_t{60'000}, size_t{300'000}}) {
    StoreWorld w(30);
    w.open();
    auto data = pattern(1, size);
    ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    w.context.generation = 1;
    w.context.cuts = {Cut{1, 10'000}};
    std::fill(data.begin() + 10'000, data.end(), 0);
    expectBytes(w, keyOf(1), 0, data);  // a read doesn't change the chunk: it looks past what is dead
    auto map = w.await(w.store().allocated(keyOf(1).chunk, w.context));
    EXPECT_EQ(map.value().size(), 3u);
    EXPECT_EQ(w.describe(keyOf(1)).generation, 0u);
    // What is written under the new generation is alive, past the cut too.
    auto more = pattern(2, 100);
    ASSERT_TRUE(w.write(keyOf(1), 20'000, more).ok());
    std::copy(more.begin(), more.end(), data.begin() + 20'000);
    expectBytes(w, keyOf(1), 0, data);
    EXPECT_EQ(w.describe(keyOf(1)).generation, 1u);
    w.context.cuts.clear();
    expectBytes(w, keyOf(1), 0, data);
  }
}

TEST(StoreCuts, SeveralAtOnce) {
  StoreWorld w(31);
  w.open();
  auto data = pattern(1, 300'000);
  ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
  w.context.generation = 1;
  w.context.cuts = {Cut{1, 200'000}};
  auto late = pattern(2, 5000);
  ASSERT_TRUE(w.write(keyOf(1), 250'000, late).ok());
  // Two more before anybody touches the chunk: the smaller one counts, wherever it stands.
  w.context.generation = 3;
  w.context.cuts = {Cut{1, 200'000}, Cut{2, 100'000}, Cut{3, 252'000}};
  auto applied = w.await(w.store().applyCuts(keyOf(1).chunk, w.context));
  ASSERT_TRUE(applied.ok());
  EXPECT_LT(applied.value().allocatedDelta, 0);
  std::fill(data.begin() + 100'000, data.end(), 0);
  w.context.cuts.clear();
  expectBytes(w, keyOf(1), 0, data);
  EXPECT_EQ(w.describe(keyOf(1)).generation, 3u);
  auto again = w.await(w.store().applyCuts(keyOf(1).chunk, w.context));
  EXPECT_EQ(again.value().allocatedDelta, 0);
}

TEST(StoreCuts, ChunksBeyondLoseAllAndChunksBeforeNothing) {
  StoreWorld w(32);
  w.open();
  for (uint32_t index : {0u, 1u, 2u}) {
    ASSERT_TRUE(w.write(keyOf(1, index), 0, pattern(index, 100'000)).ok());
  }
  w.context.generation = 1;
  w.context.cuts = {Cut{1, (1 << 22) + 50'000}};
  for (uint32_t index : {0u, 1u, 2u}) {
    ASSERT_TRUE(w.await(w.store().applyCuts(keyOf(1, index).chunk, w.context)).ok());
    EXPECT_EQ(w.describe(keyOf(1, index)).generation, 1u);
  }
  EXPECT_EQ(w.describe(keyOf(1, 0)).lengthBytes, 102'400u);
  EXPECT_EQ(w.describe(keyOf(1, 1)).lengthBytes, 53'248u);
  EXPECT_EQ(w.describe(keyOf(1, 2)).lengthBytes, 0u);
  EXPECT_TRUE(w.describe(keyOf(1, 2)).present);
  // A write that was sent before the cut comes after it.
  w.context.generation = 0;
  w.context.cuts.clear();
  EXPECT_EQ(w.write(keyOf(1, 2), 0, pattern(1, 100)).code(), ESTALE);
  EXPECT_EQ(w.punch(keyOf(1, 2), 0, 100).code(), ESTALE);
}

TEST(StoreCuts, ACutIsDoneOnlyWhenItIsDurable) {
  for (uint64_t seed = 1; seed < 200; seed++) {
    StoreWorld w(seed);
    w.open();
    auto data = pattern(1, 300'000);
    ASSERT_TRUE(w.write(keyOf(1), 0, data).ok());
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    w.context.generation = 1;
    w.context.cuts = {Cut{1, 10'000}};
    std::fill(data.begin() + 10'000, data.end(), 0);
    ASSERT_TRUE(w.await(w.store().applyCuts(keyOf(1).chunk, w.context)).ok());
    auto syncing = w.store().sync(keyOf(1)).promise();
    w.world.runFor(static_cast<Nanos>(seed % 40) * 100 * MICROSECOND);
    bool synced = syncing.poll(w.world.waitScope()) && syncing.wait(w.world.waitScope()).ok();
    syncing = nullptr;
    w.cutPower();
    w.open();
    if (synced) {
      w.context.cuts.clear();
    }
    auto read = w.read(keyOf(1), 0, 303'104);
    ASSERT_EQ(read.code, 0);
    for (uint32_t i = 0; i < 300'000; i++) {
      bool told = std::find(read.unreadable.begin(), read.unreadable.end(), i / BLOCK_BYTES) != read.unreadable.end();
      ASSERT_TRUE(told ? !synced : read.bytes[i] == data[i]) << "seed " << seed << " byte " << i;
    }
  }
}

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
    w.context.cuts = {Cut{1, 4096}};
    ASSERT_TRUE(w.await(w.store().applyCuts(keyOf(3).chunk, w.context)).ok());
    ASSERT_TRUE(w.await(w.store().remove(keyOf(4))).ok());
    for (uint64_t synced : {2ull, 3ull, 4ull}) {
      ASSERT_TRUE(w.sync(keyOf(synced)).ok());
    }
    w.maintainFor(2 * SECOND);
    EXPECT_TRUE(w.write(keyOf(object), 0, pattern(1, 500'000)).ok()) << "room again";
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
