// Disks that aren't where they were when a server starts: one that isn't mounted, two that have been swapped.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "chunkserver/daemon.h"
#include "common/system/leveldb_env.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{77, 78};

// One server's machine. Each start says which disk is at which path.
class Machine {
 public:
  explicit Machine(uint64_t seed) : world(seed) {}
  ~Machine() { end(); }

  Status start(const std::vector<std::pair<std::string, std::string>>& mounts) {
    end();
    std::string life = "c1#" + std::to_string(++lives_);
    run_ = kj::heap<Run>();
    run_->workers = world.newWorkers(life);
    run_->random = world.random(life);
    run_->homeDisk = world.volume("home").open();
    auto home = ServerHome::open(*run_->homeDisk, *run_->random, CLUSTER);
    KJ_REQUIRE(home.ok(), home.error().why);
    run_->home = kj::mv(home.value());
    std::vector<VolumePlace> places;
    for (auto& [path, disk] : mounts) {
      run_->disks.push_back(world.volume(disk).open());
      run_->bare.push_back(world.newEnv());
      run_->envs.push_back(newLogSyncingEnv(*run_->bare.back()));
      places.push_back({path, run_->disks.back().get(), run_->envs.back().get(), {}});
      mounted_.push_back(disk);
    }
    DaemonOptions options;
    options.cluster.cluster = CLUSTER;
    options.cluster.masters.push_back({"m1", "m1:7000", ""});
    options.name = "c1";
    options.listen = "c1:7100";
    options.hostId = "c1";
    DaemonSeams seams{world.clock(), *run_->random, world.network().host("c1"), *run_->workers};
    auto started = startDaemon(seams, options, *run_->home, places);
    if (!started.ok()) {
      return started.error();
    }
    run_->daemon = kj::mv(started.value());
    world.runFor(SECOND);
    return {};
  }
  void end() {
    if (run_.get() == nullptr) {
      return;
    }
    world.volume("home").processDied();
    for (auto& disk : mounted_) {
      world.volume(disk).processDied();
    }
    mounted_.clear();
    run_->daemon = nullptr;
    run_->home = nullptr;
    run_->workers = nullptr;
    run_ = nullptr;
  }
  std::vector<std::string> on(const std::string& disk) { return world.volume(disk).open()->list(".").value(); }

  World world;

 private:
  struct Run {
    kj::Own<SimWorkers> workers;
    kj::Own<SimRandom> random;
    kj::Own<Disk> homeDisk;
    std::vector<kj::Own<Disk>> disks;
    std::vector<std::unique_ptr<leveldb::Env>> bare;
    std::vector<std::unique_ptr<leveldb::Env>> envs;
    kj::Own<ServerHome> home;
    kj::Own<Daemon> daemon;
  };
  kj::Own<Run> run_;
  std::vector<std::string> mounted_;
  unsigned lives_ = 0;
};

TEST(DiskGone, anEmptyPlaceOfAKnownVolumeIsLeftEmptyAndTheOthersGoOn) {
  Machine machine(1);
  ASSERT_TRUE(machine.start({{"v1", "a"}, {"v2", "b"}}).ok());
  auto again = machine.start({{"v1", "a"}, {"v2", "root"}});
  EXPECT_TRUE(again.ok()) << again.error().why;
  machine.end();
  EXPECT_TRUE(machine.on("root").empty()) << "a volume was made where a disk isn't mounted";
  ASSERT_TRUE(machine.start({{"v1", "a"}, {"v2", "b"}}).ok()) << "and back, when it is mounted";
}

TEST(DiskGone, theOnlyVolumeIsNotMadeAnewEither) {
  Machine machine(2);
  ASSERT_TRUE(machine.start({{"v1", "a"}}).ok());
  auto again = machine.start({{"v1", "root"}});
  EXPECT_EQ(again.code(), ENOENT);
  machine.end();
  EXPECT_TRUE(machine.on("root").empty()) << "a volume was made where a disk isn't mounted";
}

TEST(DiskGone, swappedDisksAreRefused) {
  Machine machine(3);
  ASSERT_TRUE(machine.start({{"v1", "a"}, {"v2", "b"}}).ok());
  auto swapped = machine.start({{"v1", "b"}, {"v2", "a"}});
  ASSERT_FALSE(swapped.ok());
  EXPECT_NE(swapped.error().why.find("swapped"), std::string::npos) << swapped.error().why;
}

}  // namespace
}  // namespace cairn
