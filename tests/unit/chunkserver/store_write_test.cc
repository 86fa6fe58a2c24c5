// Changes of a chunk: writes, holes, cuts.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

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
                        .then([&order, i](Result<Mutated> result) {
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
    std::vector<kj::Promise<Result<Mutated>>> tasks;
    for (unsigned i = 0; i < 3; i++) {
      tasks.push_back(w.store().write(keyOf(1).chunk, w.context, kj::arrayPtr(&wire, 1)));
    }
    tasks.erase(tasks.begin() + dropped);
    for (auto& task : tasks) {
      EXPECT_TRUE(w.await(Task<Result<Mutated>>(kj::mv(task))).ok());
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
    w.context.cuts = {ChunkCut{1, 10'000}};
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
  w.context.cuts = {ChunkCut{1, 200'000}};
  auto late = pattern(2, 5000);
  ASSERT_TRUE(w.write(keyOf(1), 250'000, late).ok());
  // Two more before anybody touches the chunk: the smaller one counts, wherever it stands.
  w.context.generation = 3;
  w.context.cuts = {ChunkCut{1, 200'000}, ChunkCut{2, 100'000}, ChunkCut{3, 252'000}};
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
  w.context.cuts = {ChunkCut{1, (1 << 22) + 50'000}};
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
    w.context.cuts = {ChunkCut{1, 10'000}};
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

// ---- the file's description of itself ----

std::vector<std::optional<ChunkHeader>> slotsOf(StoreWorld& w, ChunkKey key) {
  auto file = w.volume.open()->open(chunkPath(key), Disk::Mode::READ).value();
  std::vector<std::optional<ChunkHeader>> slots;
  for (uint32_t offset : HEADER_SLOT_OFFSETS) {
    std::string text(HEADER_SLOT_BYTES, 0);
    EXPECT_TRUE(file->readNow(offset, kj::arrayPtr(reinterpret_cast<kj::byte*>(text.data()), text.size())).ok());
    size_t used = 0;
    auto header = decodeHeader(text, used);
    slots.push_back(header.ok() ? std::optional<ChunkHeader>(header.value()) : std::nullopt);
  }
  return slots;
}

TEST(StoreHeader, ChangesAtTheSyncAndNeverOverTheLastSyncedOne) {
  StoreWorld w(60);
  w.open();
  w.context.hints = ChunkHints{InodeId{5}, 0100644, 10, 20, "first/name"};
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(1, 300'000)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  auto slots = slotsOf(w, keyOf(1));
  ASSERT_TRUE(slots[0] && !slots[1]);
  EXPECT_EQ(slots[0]->hints.path, "first/name");
  EXPECT_EQ(slots[0]->generation, 0u);
  w.context.generation = 1;
  w.context.cuts = {ChunkCut{1, 100'000}};
  w.context.hints.path = "second/name";
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(2, 100)).ok());
  slots = slotsOf(w, keyOf(1));
  EXPECT_EQ(slots[0]->generation, 0u);
  EXPECT_FALSE(slots[1]) << "a cut that looks done before it is";
  for (unsigned round = 1; round < 5; round++) {
    ASSERT_TRUE(w.sync(keyOf(1)).ok());
    slots = slotsOf(w, keyOf(1));
    ASSERT_TRUE(slots[0] && slots[1]);
    EXPECT_EQ(slots[round % 2]->generation, round);
    EXPECT_EQ(slots[round % 2]->hints.path, "second/name");
    EXPECT_EQ(slots[1 - round % 2]->generation, round - 1);
    w.context.generation++;
    ASSERT_TRUE(w.write(keyOf(1), 0, pattern(round, 100)).ok());
  }
  // The next process goes on where this one stopped.
  w.close();
  w.open();
  w.context.generation++;
  ASSERT_TRUE(w.write(keyOf(1), 0, pattern(7, 100)).ok());
  ASSERT_TRUE(w.sync(keyOf(1)).ok());
  slots = slotsOf(w, keyOf(1));
  EXPECT_EQ(slots[0]->generation, 6u);
  EXPECT_EQ(slots[1]->generation, 5u);
  EXPECT_EQ(w.describe(keyOf(1)).hints.mode, 0100644u);
}

}  // namespace
}  // namespace cairn
