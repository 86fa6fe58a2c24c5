// A volume's index is read, or salvaged, without a byte of it being changed.
#include "tools/recover/volume_index.h"

#include <gtest/gtest.h>
#include <leveldb/db.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace cairn::rescue {
namespace {

constexpr unsigned KEYS = 2000;

std::string keyOf(unsigned number) { return indexKey(KeySpace::VALUE, ChunkKey{ShardId{1}, {ObjectId{number}, 0}}); }

class VolumeIndexTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cairn-index-XXXXXX";
    base_ = mkdtemp(name);
    path_ = base_ + "/index";
    leveldb::Options options;
    options.create_if_missing = true;
    options.write_buffer_size = 64 << 10;
    options.compression = leveldb::kNoCompression;
    leveldb::DB* db = nullptr;
    ASSERT_TRUE(leveldb::DB::Open(options, path_, &db).ok());
    for (unsigned i = 0; i < KEYS; ++i) {
      ASSERT_TRUE(db->Put({}, keyOf(i), std::string(100, static_cast<char>('a' + i % 26))).ok());
    }
    delete db;
  }
  void TearDown() override { std::filesystem::remove_all(base_); }

  std::map<std::string, std::string> files() {
    std::map<std::string, std::string> out;
    for (auto& entry : std::filesystem::directory_iterator(path_)) {
      std::ifstream in(entry.path(), std::ios::binary);
      out[entry.path().filename()] = std::string{std::istreambuf_iterator<char>(in), {}};
    }
    return out;
  }
  // How many keys are found, each with its value.
  unsigned count(VolumeIndex& index) {
    unsigned found = 0;
    index.scan(KeySpace::VALUE, [&](std::string_view key, std::string_view value) {
      unsigned number = static_cast<unsigned>(raw(chunkOfKey(key).chunk.object));
      EXPECT_EQ(value, std::string(100, static_cast<char>('a' + number % 26)));
      ++found;
    });
    return found;
  }
  void damage(const std::string& suffix) {
    for (auto& entry : std::filesystem::directory_iterator(path_)) {
      if (entry.path().string().ends_with(suffix)) {
        std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(entry.path()) / 2));
        file.write("rot", 3);
        return;
      }
    }
    FAIL() << "no file " << suffix;
  }

  std::string base_, path_;
};

TEST_F(VolumeIndexTest, ASoundOneIsReadAndLeftAsItIs) {
  auto before = files();
  auto index = VolumeIndex::open(*leveldb::Env::Default(), path_);
  ASSERT_TRUE(index.ok()) << index.error().why;
  EXPECT_FALSE(index.value()->isSalvaged());
  EXPECT_EQ(count(*index.value()), KEYS);
  index = Error{EIO, "closed"};
  EXPECT_EQ(files(), before);
}

TEST_F(VolumeIndexTest, OfADamagedOneTheRestIsHad) {
  damage(".ldb");
  auto before = files();
  auto index = VolumeIndex::open(*leveldb::Env::Default(), path_);
  ASSERT_TRUE(index.ok()) << index.error().why;
  EXPECT_TRUE(index.value()->isSalvaged());
  unsigned found = count(*index.value());
  EXPECT_GT(found, KEYS / 2);
  EXPECT_LT(found, KEYS);
  index = Error{EIO, "closed"};
  EXPECT_EQ(files(), before);
}

TEST_F(VolumeIndexTest, WithoutItsListOfFilesToo) {
  std::filesystem::remove(path_ + "/CURRENT");
  auto index = VolumeIndex::open(*leveldb::Env::Default(), path_);
  ASSERT_TRUE(index.ok()) << index.error().why;
  EXPECT_TRUE(index.value()->isSalvaged());
  EXPECT_EQ(count(*index.value()), KEYS);
}

}  // namespace
}  // namespace cairn::rescue
