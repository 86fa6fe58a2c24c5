// The formats on disk: what is written is read back, and what is damaged is refused.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "chunkserver/store/chunk_format.h"
#include "chunkserver/store/codec.h"
#include "chunkserver/store/record.h"
#include "chunkserver/store/volume_id.h"

namespace cairn {
namespace {

ChunkHeader sampleHeader() {
  ChunkHeader header;
  header.sequence = 7;
  header.instance = 0x1122334455667788;
  header.cluster = ClusterId{1, 2};
  header.key = ChunkKey{ShardId{0x00100005}, ChunkId{ObjectId{99}, 4}};
  header.chunkBits = 22;
  header.generation = 3;
  header.lengthBytes = 8192;
  header.lastEpoch = Epoch{12};
  header.hints = ChunkHints{InodeId{42}, 0100644, 1000, 1001, "home/someone/file.txt"};
  return header;
}

void expectSame(const ChunkHeader& a, const ChunkHeader& b) {
  EXPECT_EQ(encodeHeader(a), encodeHeader(b));
}

std::vector<kj::byte> blockWith(const std::string& first, const std::string& second) {
  std::vector<kj::byte> block(CHUNK_HEADER_BYTES);
  std::copy(first.begin(), first.end(), block.begin() + HEADER_SLOT_OFFSETS[0]);
  std::copy(second.begin(), second.end(), block.begin() + HEADER_SLOT_OFFSETS[1]);
  return block;
}

TEST(StoreFormat, HeaderComesBack) {
  size_t used = 0;
  std::string text = encodeHeader(sampleHeader());
  auto decoded = decodeHeader(text, used);
  ASSERT_TRUE(decoded.ok()) << decoded.error().why;
  EXPECT_EQ(used, text.size());
  expectSame(decoded.value(), sampleHeader());
  EXPECT_EQ(decoded.value().hints.path, "home/someone/file.txt");
  EXPECT_EQ(decoded.value().key, sampleHeader().key);
}

TEST(StoreFormat, EveryFlippedBitOfAHeaderIsFound) {
  std::string text = encodeHeader(sampleHeader());
  for (size_t bit = 0; bit < text.size() * 8; bit++) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    size_t used = 0;
    EXPECT_FALSE(decodeHeader(damaged, used).ok()) << "bit " << bit;
  }
}

TEST(StoreFormat, EveryShorterHeaderIsRefused) {
  std::string text = encodeHeader(sampleHeader());
  for (size_t size = 0; size < text.size(); size++) {
    size_t used = 0;
    EXPECT_FALSE(decodeHeader(text.substr(0, size), used).ok()) << size;
  }
}

TEST(StoreFormat, LongPathsKeepTheirEnd) {
  ChunkHeader header = sampleHeader();
  header.hints.path = std::string(1000, 'x') + "/name";
  std::string text = encodeHeader(header);
  EXPECT_LE(text.size(), HEADER_SLOT_BYTES);
  size_t used = 0;
  auto decoded = decodeHeader(text, used);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value().hints.path.size(), PATH_HINT_MAX);
  EXPECT_TRUE(decoded.value().hints.path.ends_with("/name"));
}

TEST(StoreFormat, TheNewerWholeSlotCounts) {
  ChunkHeader older = sampleHeader();
  ChunkHeader newer = sampleHeader();
  newer.sequence = 8;
  newer.generation = 4;
  for (unsigned slot : {0u, 1u}) {
    auto block = slot == 0 ? blockWith(encodeHeader(newer), encodeHeader(older))
                           : blockWith(encodeHeader(older), encodeHeader(newer));
    auto found = findHeader(kj::arrayPtr(block.data(), block.size()));
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().slot, slot);
    EXPECT_EQ(found.value().header.generation, 4u);
    // The newer one torn: the older one still describes what was synced.
    block[HEADER_SLOT_OFFSETS[slot] + 50] ^= 1;
    found = findHeader(kj::arrayPtr(block.data(), block.size()));
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().header.generation, 3u);
    block[HEADER_SLOT_OFFSETS[1 - slot] + 50] ^= 1;
    EXPECT_EQ(findHeader(kj::arrayPtr(block.data(), block.size())).code(), EUCLEAN);
  }
}

TEST(StoreFormat, NewerFormatIsToldApartFromDamage) {
  std::string text = encodeHeader(sampleHeader());
  text[8] = static_cast<char>(CHUNK_FORMAT + 1);
  size_t used = 0;
  EXPECT_EQ(decodeHeader(text, used).code(), EPROTONOSUPPORT);
}

TEST(StoreFormat, DataBeginsAtABlockAndTheAreaHoldsEveryChecksum) {
  for (uint8_t bits = CHUNK_BITS_MIN; bits <= CHUNK_BITS_MAX; bits++) {
    EXPECT_EQ(dataOffset(bits) % BLOCK_BYTES, 0u);
    EXPECT_GE(dataOffset(bits), sumsOffset(blocksOf(bits)));
  }
}

TEST(StoreFormat, SmallChunkComesBackWithoutItsTrailingZeros) {
  std::vector<kj::byte> bytes(2 * BLOCK_BYTES);
  bytes[5000] = 9;
  std::vector<uint64_t> sums{11, 12};
  auto value = encodeInline(sampleHeader(), kj::arrayPtr(sums.data(), 2), kj::arrayPtr(bytes.data(), bytes.size()));
  EXPECT_LT(value.size(), 5001u + HEADER_SLOT_BYTES);
  auto decoded = decodeInline(value);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value().bytes, bytes);
  EXPECT_EQ(decoded.value().sums, sums);
  for (size_t size = 0; size < value.size(); size += 7) {
    EXPECT_FALSE(decodeInline(value.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decodeInline(value + "x").ok());
}

TEST(StoreFormat, RecordsComeBackAndDamagedOnesDont) {
  ChunkRecord record;
  record.kind = ChunkKind::FILE;
  record.chunkBits = 20;
  record.settled = true;
  record.generation = 5;
  record.lastEpoch = Epoch{77};
  record.instance = 123;
  record.lengthBlocks = 100;
  record.allocatedBlocks = 60;
  record.digest = 0xabcdef;
  record.bad = {3, 9};
  std::string text = encodeRecord(record);
  auto decoded = decodeRecord(text);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(encodeRecord(decoded.value()), text);
  EXPECT_EQ(decoded.value().bad, record.bad);
  for (size_t size = 0; size < text.size(); size++) {
    EXPECT_FALSE(decodeRecord(text.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decodeRecord(text + "x").ok());
  EXPECT_FALSE(decodeRecord(std::string(text.size(), '\0')).ok());
  record.lengthBlocks = blocksOf(20) + 1;
  EXPECT_FALSE(decodeRecord(encodeRecord(record)).ok());
}

TEST(StoreFormat, KeysSortByShardObjectAndIndex) {
  auto key = [](uint32_t shard, uint64_t object, uint32_t index) {
    return indexKey(KeySpace::RECORD, ChunkKey{ShardId{shard}, ChunkId{ObjectId{object}, index}});
  };
  EXPECT_LT(key(1, 0xff, 0), key(1, 0x100, 0));
  EXPECT_LT(key(1, 5, 255), key(1, 5, 256));
  EXPECT_LT(key(255, 9, 9), key(256, 0, 0));
  EXPECT_EQ(key(1, 2, 3).size(), CHUNK_KEY_BYTES);
  EXPECT_EQ(chunkOfKey(key(7, 8, 9)), (ChunkKey{ShardId{7}, ChunkId{ObjectId{8}, 9}}));
  EXPECT_LT(key(3, UINT64_MAX, UINT32_MAX), afterPrefix(indexKey(KeySpace::RECORD, ShardId{3})));
  EXPECT_EQ(afterPrefix(std::string("a\xff\xff")), "b");
}

TEST(StoreFormat, FileNamesComeBack) {
  ChunkKey key{ShardId{0x2a}, ChunkId{ObjectId{0xabcdef}, 17}};
  EXPECT_EQ(chunkPath(key), "chunks/0000002a/0000000000abcdef-00000011");
  ChunkId chunk;
  EXPECT_TRUE(parseChunkName(chunkFileName(key.chunk), chunk));
  EXPECT_EQ(chunk, key.chunk);
  for (const char* wrong : {"", "0000000000abcdef-0000001", "0000000000abcdef_00000011", "0000000000ABCDEF-00000011"}) {
    EXPECT_FALSE(parseChunkName(wrong, chunk)) << wrong;
  }
}

TEST(StoreFormat, VolumeIdComesBackAndEveryChangeIsFound) {
  VolumeIdentity identity{ClusterId{1, 2}, ServerId{3, 4}, VolumeId{5, 6}};
  std::string text = encodeVolumeId(identity);
  auto decoded = decodeVolumeId(text, "volume.id");
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value().volume, identity.volume);
  for (size_t i = 0; i < text.size(); i++) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(decodeVolumeId(damaged, "volume.id").ok()) << i;
    EXPECT_FALSE(decodeVolumeId(text.substr(0, i), "volume.id").ok()) << i;
  }
  std::string newer = text;
  newer.replace(newer.find("volume 1"), 8, "volume 2");
  EXPECT_EQ(decodeVolumeId(newer, "volume.id").code(), EPROTONOSUPPORT);
}

}  // namespace
}  // namespace cairn
