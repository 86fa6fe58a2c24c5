// Which block of which copy is given out, and which is not.
#include "tools/recover/chunk_reader.h"

#include <gtest/gtest.h>

#include "common/checksum.h"
#include "tests/sim/world/world.h"

namespace cairn::rescue {
namespace {

constexpr uint8_t CHUNK_BITS = 16;
constexpr uint32_t BLOCKS = 4;

class ChunkReaderTest : public testing::Test {
 protected:
  ~ChunkReaderTest() noexcept override {}

  // A disk with one chunk; `letters`: what each block is filled with, a space for a hole.
  FoundCopy& put(const std::string& letters, uint64_t epoch) {
    std::string name = "d" + std::to_string(disks_.size());
    auto disk = world_.volume(name).open();
    ChunkHeader header;
    header.key = {ShardId{1}, {ObjectId{7}, 0}};
    header.chunkBits = CHUNK_BITS;
    header.lastEpoch = Epoch{epoch};
    std::vector<uint64_t> sums(blocksOf(CHUNK_BITS));
    KJ_ASSERT(disk->makeDirectory("chunks").ok());
    auto file = disk->open("chunks/c", Disk::Mode::CREATE).value();
    std::string encoded = encodeHeader(header);
    KJ_ASSERT(file->write(0, bytesOf(encoded)).ok());
    for (uint32_t i = 0; i < letters.size(); ++i) {
      if (letters[i] != ' ') {
        std::string block(BLOCK_BYTES, letters[i]);
        sums[i] = blockChecksum(bytesOf(block));
        KJ_ASSERT(file->write(blockOffset(CHUNK_BITS, i), bytesOf(block)).ok());
      }
    }
    KJ_ASSERT(file->write(CHUNK_HEADER_BYTES, encodeSums(kj::arrayPtr(sums.data(), sums.size()))).ok());
    FoundCopy copy;
    copy.key = header.key;
    copy.path = "chunks/c";
    copy.chunkBits = CHUNK_BITS;
    copy.lastEpoch = Epoch{epoch};
    copy.lengthBlocks = static_cast<uint32_t>(letters.size());
    copy.sums = FoundCopy::Sums::CONFIRMED;
    FoundDisk found;
    found.path = name;
    found.finished = true;
    found.copies.push_back(copy);
    disks_.push_back(std::move(found));
    return disks_.back().copies.front();
  }
  void spoil(const std::string& disk, uint32_t block) {
    auto open = world_.volume(disk).open();
    auto file = open->open("chunks/c", Disk::Mode::READ_WRITE).value();
    KJ_ASSERT(file->write(blockOffset(CHUNK_BITS, block) + 5, kj::StringPtr("rot").asBytes()).ok());
  }
  // A letter for each block; a space for a hole, '?' for what is lost.
  std::string read(std::vector<LayoutCut> cuts = {}) {
    auto env = world_.newEnv();
    auto opener = [this](const std::string& path) -> Result<kj::Own<Disk>> { return world_.volume(path).open(); };
    std::vector<FoundDisk> disks(disks_.begin(), disks_.end());
    Archive archive(*env, opener, std::move(disks));
    FileView file;
    file.object = ObjectId{7};
    file.chunkBits = CHUNK_BITS;
    file.size = BLOCKS * BLOCK_BYTES;
    file.cuts = std::move(cuts);
    ChunkReader reader(archive, file, 0);
    std::string letters;
    auto block = kj::heapArray<kj::byte>(BLOCK_BYTES);
    for (uint32_t i = 0; i < BLOCKS; ++i) {
      auto got = reader.read(i, block);
      letters += got == ChunkReader::Block::DATA ? static_cast<char>(block[0])
                                                 : got == ChunkReader::Block::HOLE ? ' ' : '?';
    }
    return letters;
  }
  static kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
    return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
  }

  World world_{1};
  std::deque<FoundDisk> disks_;
};

TEST_F(ChunkReaderTest, TheNewestCounts) {
  put("abcd", 3);
  put("wxyz", 4);
  EXPECT_EQ(read(), "wxyz");
}

TEST_F(ChunkReaderTest, AnotherOfTheNewestStandsIn) {
  put("abcd", 4);
  put("abcd", 4);
  spoil("d0", 1);
  spoil("d1", 2);
  EXPECT_EQ(read(), "abcd");
  spoil("d1", 1);
  EXPECT_EQ(read(), "a?cd");
}

// An older copy serves where its block is certainly the same, and nowhere else.
TEST_F(ChunkReaderTest, AnOlderCopyNeverGivesOtherBytes) {
  put("aXcd", 3);
  put("abcd", 4);
  spoil("d1", 0);
  spoil("d1", 1);
  EXPECT_EQ(read(), "a?cd");
}

TEST_F(ChunkReaderTest, AHoleIsBelievedWhereTheChecksumsAreVouchedFor) {
  put("a cd", 4);
  EXPECT_EQ(read(), "a cd");
  disks_[0].copies[0].sums = FoundCopy::Sums::DIFFER;
  EXPECT_EQ(read(), "a?cd");
  disks_[0].copies[0].sums = FoundCopy::Sums::UNKNOWN;
  EXPECT_EQ(read(), "a cd") << "it was being written when its server ended, and nobody knows better";
  put("abcd", 4);
  EXPECT_EQ(read(), "abcd");
}

TEST_F(ChunkReaderTest, WhatATruncateMadeDeadIsZero) {
  put("abcd", 4);
  LayoutCut cut;
  cut.generation = 1;
  cut.firstDead = 2 * BLOCK_BYTES;
  EXPECT_EQ(read({cut}), "ab  ");
  disks_[0].copies[0].generation = 1;  // it knows of it
  EXPECT_EQ(read({cut}), "abcd");
}

TEST_F(ChunkReaderTest, NothingAtAllIsLost) {
  put("abcd", 4);
  disks_[0].copies.clear();
  EXPECT_EQ(read(), "????");
}

}  // namespace
}  // namespace cairn::rescue
