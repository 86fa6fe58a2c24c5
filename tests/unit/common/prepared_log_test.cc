// A database over logs written ahead of use: whole after a kill, tidy after a clean end.
#include "common/system/prepared_log.h"

#include <gtest/gtest.h>
#include <leveldb/db.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <random>

namespace cairn {
namespace {

namespace fs = std::filesystem;

class PreparedLog : public ::testing::Test {
 protected:
  PreparedLog() {
    char name[] = "/tmp/cairn-prepared-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~PreparedLog() override { fs::remove_all(path_); }

  std::unique_ptr<leveldb::DB> open(const fs::path& path) {
    leveldb::Options options;
    options.create_if_missing = true;
    options.paranoid_checks = true;
    options.write_buffer_size = 1 << 20;
    options.env = env_.get();
    leveldb::DB* db = nullptr;
    auto status = leveldb::DB::Open(options, path, &db);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return std::unique_ptr<leveldb::DB>(db);
  }
  static uint64_t logBytes(const fs::path& path) {
    uint64_t sum = 0;
    for (auto& file : fs::directory_iterator(path)) {
      sum += file.path().extension() == ".log" ? file.file_size() : 0;
    }
    return sum;
  }

  fs::path path_;
  std::unique_ptr<leveldb::Env> env_ = newPreparedLogEnv(*leveldb::Env::Default());
};

// What was written under `seed`, or is to be.
std::vector<std::string> valuesOf(uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<std::string> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(std::string(1 + random() % 30'000, static_cast<char>('a' + random() % 26)));
  }
  return values;
}

// Runs `work` in a process of its own, for a killed LevelDB leaves its threads behind; gives back how it ended.
template <typename Work>
int inAnotherProcess(Work&& work) {
  pid_t child = fork();
  if (child == 0) {
    work();
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST_F(PreparedLog, WhatWasWrittenIsThereAfterAKill) {
  uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (int count : {1, 20, 45, 300}) {
    fs::path path = path_ / std::to_string(count);
    auto values = valuesOf(seed, count);
    int killed = inAnotherProcess([&] {
      auto db = open(path);
      for (int i = 0; i < count; ++i) {
        leveldb::WriteOptions how;
        how.sync = i % 3 == 0;
        ASSERT_TRUE(db->Put(how, "key" + std::to_string(i), values[i]).ok());
      }
      kill(getpid(), SIGKILL);
    });
    ASSERT_TRUE(WIFSIGNALED(killed)) << killed;
    EXPECT_GT(logBytes(path), 0u);
    int checked = inAnotherProcess([&] {
      auto db = open(path);
      for (int i = 0; i < count; ++i) {
        std::string value;
        ASSERT_TRUE(db->Get({}, "key" + std::to_string(i), &value).ok()) << i;
        ASSERT_EQ(value, values[i]);
      }
    });
    EXPECT_EQ(checked, 0) << "of " << count;
  }
}

TEST_F(PreparedLog, ASyncDoesNotGrowTheFileAndACleanEndTakesTheZerosBack) {
  leveldb::WritableFile* made = nullptr;
  std::string name = path_ / "000001.log";
  ASSERT_TRUE(env_->NewWritableFile(name, &made).ok());
  std::unique_ptr<leveldb::WritableFile> log(made);
  uint64_t before = fs::file_size(name);
  EXPECT_GT(before, 64u << 10);
  ASSERT_TRUE(log->Append("first").ok());
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(fs::file_size(name), before);
  std::string much(before, 'x');
  ASSERT_TRUE(log->Append(much).ok());
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_GT(fs::file_size(name), before + 5) << "prepared once more";
  ASSERT_TRUE(log->Close().ok());
  EXPECT_EQ(fs::file_size(name), before + 5);
}

TEST_F(PreparedLog, AFullDeviceIsAnError) {
  fs::create_symlink("/dev/full", path_ / "000002.log");
  leveldb::WritableFile* made = nullptr;
  auto status = env_->NewWritableFile(path_ / "000002.log", &made);
  std::unique_ptr<leveldb::WritableFile> log(made);
  if (status.ok()) {
    ASSERT_TRUE(log->Append("x").ok());
    status = log->Sync();
  }
  EXPECT_TRUE(status.IsIOError()) << status.ToString();
}

}  // namespace
}  // namespace cairn
