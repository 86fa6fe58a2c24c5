// What a scrub finds on the device, what it writes again, and what it must never do.
#include "chunkserver/store/volume.h"
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t BLOCKS = 40;
constexpr uint32_t BYTES = BLOCKS * BLOCK_BYTES;  // a file of its own

struct ScrubWorld : StoreWorld {
  explicit ScrubWorld(uint64_t seed) : StoreWorld(seed) {
    open();
    EXPECT_TRUE(write(key, 0, data).ok());
    EXPECT_TRUE(sync(key).ok());
    maintainFor(20 * SECOND);  // no dirty mark is left
  }
  ScrubPart look() {
    auto part = await(store().scrub(key, 0, BLOCKS));
    EXPECT_TRUE(part.ok()) << part.error().why;
    return part.ok() ? part.value() : ScrubPart();
  }
  void rotBlock(uint32_t block) { ASSERT_TRUE(volume.rotAt(chunkPath(key), blockOffset(DEFAULT_CHUNK_BITS, block))); }
  std::vector<std::string> quarantined() {
    auto disk = volume.open();
    return disk->list("quarantine").value();
  }
  Result<Mutated> installWhole() {
    TestPiece whole(0, data);
    ImageView image;
    image.lastEpoch = Epoch{2};
    image.sums = kj::arrayPtr(whole.sums.data(), whole.sums.size());
    image.bytes = kj::arrayPtr(data.data(), data.size());
    return await(store().install(key, image));
  }

  const ChunkKey key = keyOf(1);
  const std::vector<kj::byte> data = pattern(7, BYTES);
};

TEST(StoreScrub, aSoundChunkIsReadWholeAndLeftAlone) {
  ScrubWorld w(1);
  auto part = w.look();
  EXPECT_EQ(part.blocksRead, BLOCKS);
  EXPECT_EQ(part.lengthBlocks, BLOCKS);
  EXPECT_EQ(part.badBlocks, 0u);
  EXPECT_FALSE(part.frontMended);
}

TEST(StoreScrub, rotIsFoundAndKeepsItsChecksum) {
  ScrubWorld w(2);
  auto before = w.describe(w.key).sums;
  w.rotBlock(3);
  EXPECT_EQ(w.look().badBlocks, 1u);
  auto after = w.describe(w.key);
  EXPECT_EQ(after.bad, std::vector<uint32_t>{3});
  EXPECT_EQ(after.sums, before) << "a checksum was made from bytes that don't match it";
  EXPECT_EQ(w.read(w.key, 0, BYTES).unreadable, std::vector<uint32_t>{3});
}

TEST(StoreScrub, aWholeCopyMendsItAndTheBadOneIsKept) {
  ScrubWorld w(3);
  w.rotBlock(5);
  EXPECT_EQ(w.look().badBlocks, 1u);
  ASSERT_TRUE(w.installWhole().ok());
  EXPECT_EQ(w.look().badBlocks, 0u);
  EXPECT_EQ(w.store().counters().mendedBlocks, 1u);
  EXPECT_EQ(w.quarantined().size(), 1u) << "the bad copy is gone";
  expectBytes(w, w.key, 0, w.data);
}

TEST(StoreScrub, aDamagedFrontIsWrittenAgainFromMemory) {
  for (uint64_t offset : {uint64_t{40}, uint64_t{CHUNK_HEADER_BYTES} + 8, uint64_t{sumsOffset(BLOCKS + 3)}}) {
    SCOPED_TRACE(offset);
    ScrubWorld w(4);
    for (uint64_t slot : HEADER_SLOT_OFFSETS) {
      ASSERT_TRUE(w.volume.rotAt(chunkPath(w.key), offset < HEADER_SLOT_BYTES ? slot + offset : offset));
      if (offset >= HEADER_SLOT_BYTES) {
        break;
      }
    }
    EXPECT_TRUE(w.look().frontMended);
    EXPECT_FALSE(w.look().frontMended) << "it is whole now";
    w.close();
    w.open();
    EXPECT_EQ(w.look().badBlocks, 0u);
    expectBytes(w, w.key, 0, w.data);
  }
}

// Nobody had it in memory: what its checksums were is lost, but not that they are.
TEST(StoreScrub, aDamagedChecksumOfAChunkNotInMemoryIsALostOne) {
  ScrubWorld w(5);
  w.close();
  ASSERT_TRUE(w.volume.rotAt(chunkPath(w.key), sumsOffset(2)));
  w.open();
  EXPECT_EQ(w.look().badBlocks, 1u);
  auto found = w.describe(w.key);
  EXPECT_EQ(found.bad, std::vector<uint32_t>{2});
  EXPECT_EQ(found.sums[2], LOST_SUM);
  ASSERT_TRUE(w.installWhole().ok());
  expectBytes(w, w.key, 0, w.data);
  EXPECT_EQ(w.look().badBlocks, 0u);
}

TEST(StoreScrub, whatTheDeviceCannotReadIsABadBlock) {
  ScrubWorld w(6);
  w.close();
  SimFaults faults;
  faults.readError = 200000;
  faults.befalls = [](const std::string& path) { return path.rfind("chunks/", 0) == 0; };
  bool some = false;
  for (faults.seed = 1; faults.seed < 40 && !some; ++faults.seed) {
    w.volume.setFaults(faults);
    w.open();
    auto read = w.read(w.key, 0, BYTES);
    auto part = w.look();
    some = part.badBlocks > 0 && part.badBlocks < BLOCKS;
    EXPECT_TRUE(w.store().health().ok()) << "one chunk can't be read whole";
    EXPECT_TRUE(read.code == 0 || read.code == EUCLEAN) << read.code;
    EXPECT_TRUE(read.code == 0 || part.badBlocks > 0);
    w.volume.setFaults({});
    w.close();
  }
  EXPECT_TRUE(some);
}

TEST(StoreScrub, aDiskThatGivesManyErrorsHasFailed) {
  StoreWorld w(7);
  w.open();
  for (uint64_t object = 1; object <= Volume::UNREADABLE_CHUNKS_MAX + 1; ++object) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, BYTES)).ok());
  }
  w.close();
  SimFaults faults;
  faults.readError = 1000000;
  faults.befalls = [](const std::string& path) { return path.rfind("chunks/", 0) == 0; };
  w.volume.setFaults(faults);
  w.open();
  for (uint64_t object = 1; object <= Volume::UNREADABLE_CHUNKS_MAX + 1; ++object) {
    (void)w.await(w.store().scrub(keyOf(object), 0, BLOCKS)).ok();
  }
  EXPECT_EQ(w.store().health().code(), EIO);
}

TEST(StoreScrub, theWholeIndexIsLookedThrough) {
  StoreWorld w(8);
  w.open();
  for (uint64_t object = 1; object <= 200; ++object) {
    ASSERT_TRUE(w.write(keyOf(object), 0, pattern(object, 8 * BLOCK_BYTES)).ok());
  }
  w.close();
  w.open();
  std::string from;
  unsigned parts = 0;
  do {
    auto next = w.await(w.store().scrubIndex(from));
    ASSERT_TRUE(next.ok()) << next.error().why;
    ASSERT_TRUE(next.value().empty() || from < next.value());
    from = next.value();
    ++parts;
  } while (!from.empty());
  EXPECT_GT(parts, 1u);
}

TEST(StoreScrub, notesSurviveAStop) {
  StoreWorld w(9);
  w.open();
  EXPECT_EQ(w.store().note("a"), "");
  w.store().setNote("a", "b c");
  w.close();
  w.open();
  EXPECT_EQ(w.store().note("a"), "b c");
}

}  // namespace
}  // namespace cairn
