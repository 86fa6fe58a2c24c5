// After a power cut a synced write of LevelDB must stand for all writes before it.
#include "common/system/leveldb_env.h"

#include <gtest/gtest.h>
#include <leveldb/db.h>

#include <memory>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr int WRITES = 120;
constexpr int SYNC_EVERY = 40;

std::string key(int i) {
  return "key" + std::to_string(1000 + i);
}

std::unique_ptr<leveldb::DB> openDb(leveldb::Env& env, const SimVolume& volume) {
  leveldb::Options options;
  options.create_if_missing = true;
  options.env = &env;
  options.write_buffer_size = 64 << 10;  // the smallest: many switches of the log
  options.compression = leveldb::kNoCompression;
  leveldb::DB* db = nullptr;
  auto status = leveldb::DB::Open(options, volume.hostPath("db"), &db);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return std::unique_ptr<leveldb::DB>(db);
}

std::unique_ptr<leveldb::Env> newEnv(leveldb::Env& under, bool syncing) {
  return syncing ? newLogSyncingEnv(under) : std::make_unique<leveldb::EnvWrapper>(&under);
}

// Writes, cuts the power, and says whether a synced write survived that an earlier one did not.
bool losesEarlier(uint64_t seed, bool syncing) {
  World world(seed);
  SimVolume& volume = world.volume("v");
  auto under = world.newEnv();
  auto env = newEnv(*under, syncing);
  auto db = openDb(*env, volume);
  auto chance = world.random("lengths");
  int lastSynced = -1;
  int writes = 1 + static_cast<int>(chance->below(WRITES));
  for (int i = 0; i < writes; i++) {
    leveldb::WriteOptions how;
    how.sync = i % SYNC_EVERY == SYNC_EVERY - 1;
    std::string value(200 + chance->below(4000), static_cast<char>('a' + i % 26));
    EXPECT_TRUE(db->Put(how, key(i), value).ok());
    lastSynced = how.sync ? i : lastSynced;
    if (chance->below(16) == 0) {
      world.runFor(MILLISECOND);  // LevelDB compacts in the rests between turns
    }
  }
  volume.powerCut();
  db = nullptr;  // a dead process's destructors change nothing
  auto underAfter = world.newEnv();
  auto after = openDb(*underAfter, volume);
  bool lost = false;
  for (int i = 0; i <= lastSynced; i++) {
    std::string value;
    lost = lost || !after->Get({}, key(i), &value).ok();
  }
  after = nullptr;
  return lost;
}

TEST(LogSyncingEnv, ASyncedWriteCoversAllBeforeIt) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    ASSERT_FALSE(losesEarlier(seed, true)) << "seed " << seed;
  }
}

TEST(LogSyncingEnv, IsNeeded) {
  unsigned losses = 0;
  for (uint64_t seed = 0; seed < 200; seed++) {
    losses += losesEarlier(seed, false);
  }
  EXPECT_GT(losses, 0u) << "plain LevelDB kept everything: either it has changed, or the simulated disk is too kind";
}

TEST(LogSyncingEnv, AFailedSyncOfADroppedLogStopsTheDatabase) {
  World world(3);
  SimVolume& volume = world.volume("v");
  auto under = world.newEnv();
  auto env = newLogSyncingEnv(*under);
  auto db = openDb(*env, volume);
  SimFaults faults;
  faults.syncError = 1'000'000;
  faults.befalls = [](const std::string& path) { return path.ends_with(".log"); };
  volume.setFaults(faults);
  // LevelDB syncs no log by itself, and doesn't look when the Env does so for it.
  bool stopped = false;
  for (int i = 0; i < 200 && !stopped; i++) {
    stopped = !db->Put({}, key(i), std::string(4000, 'x')).ok();
    world.runFor(MILLISECOND);
  }
  EXPECT_TRUE(stopped) << "went on writing after a log was lost";
}

TEST(SimEnv, HoldsADatabaseThroughRestartsAndCompactions) {
  World world(5);
  SimVolume& volume = world.volume("v");
  for (int round = 0; round < 3; round++) {
    auto env = world.newEnv();
    auto db = openDb(*env, volume);
    for (int i = 0; i < 300; i++) {
      std::string value;
      EXPECT_EQ(db->Get({}, key(i), &value).ok(), round > 0);
      ASSERT_TRUE(db->Put({}, key(i), std::string(3000, static_cast<char>('a' + round))).ok());
    }
    db->CompactRange(nullptr, nullptr);
    for (int i = 0; i < 300; i++) {
      std::string value;
      ASSERT_TRUE(db->Get({}, key(i), &value).ok());
      EXPECT_EQ(value, std::string(3000, static_cast<char>('a' + round)));
    }
    db = nullptr;
    volume.processDied();
  }
  EXPECT_LT(volume.usedBytes(), 8u << 20) << "files that were removed still count";
}

TEST(SimEnv, TwoProcessesCantShareADatabase) {
  World world(5);
  auto env = world.newEnv();
  auto other = world.newEnv();
  auto db = openDb(*env, world.volume("v"));
  leveldb::Options options;
  options.env = other.get();
  leveldb::DB* second = nullptr;
  EXPECT_FALSE(leveldb::DB::Open(options, world.volume("v").hostPath("db"), &second).ok());
}

// What is on the volume after the same writes must not depend on when the background thread got the processor.
TEST(SimEnv, SameSeedSameFiles) {
  auto run = [](uint64_t seed) {
    World world(seed);
    SimVolume& volume = world.volume("v");
    auto env = world.newEnv();
    auto db = openDb(*env, volume);
    for (int i = 0; i < 400; i++) {
      EXPECT_TRUE(db->Put({}, key(i % 50), std::string(2000, 'x')).ok());
      if (i % 10 == 0) {
        world.runFor(MILLISECOND);
      }
    }
    volume.powerCut();
    std::string files;
    auto disk = volume.open();
    auto names = disk->list("db");
    for (const auto& name : names.value()) {
      auto bytes = readWholeFile(*disk, "db/" + name, 1 << 24);
      files += name + " " + std::to_string(hash64(bytes.value())) + "\n";
    }
    db = nullptr;
    return files;
  };
  std::string first = run(11);
  EXPECT_FALSE(first.empty());
  for (int i = 0; i < 10; i++) {
    ASSERT_EQ(run(11), first);
  }
}

}  // namespace
}  // namespace cairn
