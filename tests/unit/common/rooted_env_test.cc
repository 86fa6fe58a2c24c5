// A database stays with its directory, whatever is at its path by now.
#include "common/system/rooted_env.h"

#include <gtest/gtest.h>
#include <leveldb/db.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace cairn {
namespace {

namespace fs = std::filesystem;

class RootedEnv : public ::testing::Test {
 protected:
  RootedEnv() {
    char name[] = "/tmp/cairn-rooted-XXXXXX";
    top_ = mkdtemp(name);
    fs::create_directory(top_ / "disk");
  }
  ~RootedEnv() override { fs::remove_all(top_); }

  std::unique_ptr<leveldb::DB> open(leveldb::Env& env) {
    leveldb::Options options;
    options.create_if_missing = true;
    options.env = &env;
    leveldb::DB* db = nullptr;
    auto status = leveldb::DB::Open(options, top_ / "disk" / "index", &db);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return std::unique_ptr<leveldb::DB>(db);
  }

  fs::path top_;
};

TEST_F(RootedEnv, nothingIsMadeWhereTheDirectoryNoLongerIs) {
  auto env = newRootedEnv(*leveldb::Env::Default(), top_ / "disk");
  ASSERT_TRUE(env.ok()) << env.error().why;
  auto db = open(*env.value());
  ASSERT_TRUE(db->Put({}, "a", "1").ok());
  fs::rename(top_ / "disk", top_ / "gone");
  fs::create_directory(top_ / "disk");
  ASSERT_TRUE(db->Put({}, "b", "2").ok());
  db = nullptr;
  db = open(*env.value());  // anew
  ASSERT_TRUE(db->Put({}, "c", "3").ok());
  EXPECT_TRUE(fs::is_empty(top_ / "disk")) << "written where the disk is no longer";
  std::string found;
  EXPECT_TRUE(db->Get({}, "a", &found).ok());
  EXPECT_TRUE(db->Get({}, "b", &found).ok());
  EXPECT_TRUE(fs::exists(top_ / "gone" / "index" / "CURRENT"));
}

TEST_F(RootedEnv, whatIsNoLongerOnTheDiskIsAnErrorAndNotTheEnd) {
  auto env = newRootedEnv(*leveldb::Env::Default(), top_ / "disk");
  ASSERT_TRUE(env.ok());
  std::string name = top_ / "disk" / "table";
  std::ofstream(name) << std::string(20'000, 'x');
  leveldb::RandomAccessFile* opened = nullptr;
  ASSERT_TRUE(env.value()->NewRandomAccessFile(name, &opened).ok());
  std::unique_ptr<leveldb::RandomAccessFile> file(opened);
  std::vector<char> scratch(10'000);
  leveldb::Slice found;
  ASSERT_TRUE(file->Read(5'000, 10'000, &found, scratch.data()).ok());
  EXPECT_EQ(found.ToString(), std::string(10'000, 'x'));
  fs::resize_file(name, 6'000);  // mapped, the next read would be a SIGBUS
  ASSERT_TRUE(file->Read(5'000, 10'000, &found, scratch.data()).ok());
  EXPECT_EQ(found.size(), 1'000u);
  EXPECT_TRUE(env.value()->NewRandomAccessFile(top_ / "disk" / "none", &opened).IsNotFound());
  EXPECT_EQ(opened, nullptr);
}

TEST_F(RootedEnv, onlyWhatIsBelowIsReachedSo) {
  auto env = newRootedEnv(*leveldb::Env::Default(), top_ / "disk");
  ASSERT_TRUE(env.ok());
  ASSERT_TRUE(env.value()->CreateDir(top_ / "disk-other").ok());
  EXPECT_TRUE(fs::exists(top_ / "disk-other"));
  EXPECT_EQ(newRootedEnv(*leveldb::Env::Default(), top_ / "none").code(), ENOENT);
}

}  // namespace
}  // namespace cairn
