// What a master makes its state from when it starts: LevelDB, or a snapshot and the log, of which any may be old.
#include <gtest/gtest.h>

#include <map>

#include "master/state_recovery.h"
#include "tests/unit/master/replica_process.h"

namespace cairn::replica_test {
namespace {

using Files = std::map<std::string, kj::Array<kj::byte>>;

Files filesOf(World& world, const std::string& volume, const std::string& directory) {
  auto disk = world.volume(volume).open();
  Files files;
  for (auto& name : disk->list(directory).value()) {
    auto contents = readWholeFile(*disk, directory + "/" + name, 64 << 20);
    KJ_REQUIRE(contents.ok(), name);
    files[name] = kj::mv(contents.value());
  }
  return files;
}

void putFiles(World& world, const std::string& directory, const Files& files) {
  auto disk = world.volume("m1").open();
  if (!disk->exists(directory)) {
    ASSERT_TRUE(disk->makeDirectory(directory).ok());
  }
  for (auto& [name, bytes] : files) {
    ASSERT_TRUE(replaceFile(*disk, directory + "/" + name, bytes).ok());
  }
}

void removeState(World& world) {
  auto disk = world.volume("m1").open();
  auto env = world.newEnv();
  ASSERT_TRUE(Store::remove(*env, disk->hostPath("state")).ok());
}

// LevelDB isn't synced: after a power cut it may be as it was long ago, whole, and before the oldest snapshot.
TEST(Replica, AnOldStateIsMadeAgainFromASnapshot) {
  World world(12);
  Maker maker(12);
  auto options = smallOptions();
  options.segmentBytes = 64 << 10;
  options.snapshotLogBytes = 24 << 10;
  std::vector<Files> states;
  for (int life = 0; life < 12; ++life) {
    {
      Process process(world, "m1", options);
      ASSERT_TRUE(process.opened.ok()) << process.opened.error().why;
      if (life == 0) {
        process.format();
      }
      auto session = process.openSession(9);
      maker.run(process, session, 60);
      world.runFor(SECOND);
      world.await(process.replica().stop(), LIMIT);
    }
    world.volume("m1").processDied();
    states.push_back(filesOf(world, "m1", "state"));
  }
  for (size_t i = 0; i < states.size(); ++i) {
    removeState(world);
    putFiles(world, "state", states[i]);
    {
      Process process(world, "m1", options);
      ASSERT_TRUE(process.opened.ok()) << "with the state of life " << i << ": " << process.opened.error().why;
      maker.check(process.reader());
    }
    world.volume("m1").processDied();
  }
}

// One that came from another master and was never installed, for the log here goes on otherwise.
TEST(Replica, ASnapshotOfAnotherLogIsNotTaken) {
  World world(13);
  auto options = smallOptions();
  options.snapshotLogBytes = 24 << 10;
  Maker others(13, 5000);
  for (int life = 0; life < 3; ++life) {
    Process process(world, "m2", options);
    ASSERT_TRUE(process.opened.ok());
    if (life == 0) {
      process.format();
    }
    others.run(process, process.openSession(9), 40);
    world.runFor(SECOND);
    world.await(process.replica().stop(), LIMIT);
    world.volume("m2").processDied();
  }
  Maker maker(14);
  {
    Process process(world);
    process.format();
    maker.run(process, process.openSession(9), 600);
    world.runFor(SECOND);
    world.await(process.replica().stop(), LIMIT);
  }
  world.volume("m1").processDied();
  auto snapshots = filesOf(world, "m2", "snapshots");
  ASSERT_FALSE(snapshots.empty());
  putFiles(world, "snapshots", snapshots);
  ASSERT_TRUE(distrustState(*world.volume("m1").open()).ok());
  Process again(world);
  ASSERT_TRUE(again.opened.ok()) << again.opened.error().why;
  maker.check(again.reader());
}

}  // namespace
}  // namespace cairn::replica_test
