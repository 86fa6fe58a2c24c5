// The simulated disk itself: what survives, what may not, and that a seed decides.
#include "tests/sim/world/sim_volume.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

struct Bench {
  explicit Bench(uint64_t seed = 1) : world(seed), volume(world.volume("v")), disk(volume.open()) {}

  kj::Own<File> open(const std::string& path, Disk::Mode mode = Disk::Mode::CREATE) {
    auto opened = disk->open(path, mode);
    KJ_ASSERT(opened.ok(), opened.error().why);
    return kj::mv(opened.value());
  }
  // A file that has its name and `text` for sure.
  kj::Own<File> stored(const std::string& path, const std::string& text) {
    auto file = open(path);
    KJ_ASSERT(file->write(0, bytesOf(text)).ok());
    KJ_ASSERT(file->syncNow().ok());
    KJ_ASSERT(disk->syncDirectoryNow(".").ok());
    return file;
  }
  std::string text(const std::string& path) {
    auto got = readWholeFile(*disk, path, 1 << 24);
    return got.ok() ? std::string(got.value().asChars().begin(), got.value().size()) : "error " + got.error().why;
  }
  void cut() {
    volume.powerCut();
    disk = volume.open();
  }

  World world;
  SimVolume& volume;
  kj::Own<Disk> disk;
};

TEST(SimVolume, SyncedBytesSurvive) {
  for (uint64_t seed = 0; seed < 50; seed++) {
    Bench bench(seed);
    bench.stored("f", std::string(10'000, 's'));
    bench.cut();
    ASSERT_EQ(bench.text("f"), std::string(10'000, 's')) << "seed " << seed;
  }
}

TEST(SimVolume, UnsyncedBytesMayGoOrStayOrTear) {
  const std::string before(8192, 'o'), after(8192, 'n');
  unsigned old = 0, young = 0, torn = 0;
  for (uint64_t seed = 0; seed < 100; seed++) {
    Bench bench(seed);
    auto file = bench.stored("f", before);
    ASSERT_TRUE(file->write(0, bytesOf(after)).ok());
    bench.cut();
    std::string now = bench.text("f");
    ASSERT_EQ(now.size(), 8192u);
    for (size_t at = 0; at < now.size(); at += 512) {
      std::string sector = now.substr(at, 512);
      ASSERT_TRUE(sector == std::string(512, 'o') || sector == std::string(512, 'n')) << "a sector is atomic";
    }
    old += now == before;
    young += now == after;
    torn += now != before && now != after;
  }
  EXPECT_GT(old, 5u);
  EXPECT_GT(young, 5u);
  EXPECT_GT(torn, 5u);
}

TEST(SimVolume, ASyncCoversWhatWasWrittenBeforeItBeganOnly) {
  unsigned kept = 0, lost = 0;
  for (uint64_t seed = 0; seed < 100; seed++) {
    Bench bench(seed);
    auto file = bench.stored("f", std::string(512, '0'));
    ASSERT_TRUE(file->write(0, bytesOf(std::string(512, '1'))).ok());
    auto sync = file->sync();
    ASSERT_TRUE(file->write(0, bytesOf(std::string(512, '2'))).ok());
    ASSERT_TRUE(bench.world.await(kj::mv(sync), SECOND).ok());
    bench.cut();
    char now = bench.text("f")[0];
    ASSERT_TRUE(now == '1' || now == '2') << now;
    kept += now == '2';
    lost += now == '1';
  }
  EXPECT_GT(kept, 0u);
  EXPECT_GT(lost, 0u);
}

TEST(SimVolume, ASyncThatHasNotEndedPromisesNothing) {
  unsigned lost = 0;
  for (uint64_t seed = 0; seed < 50; seed++) {
    Bench bench(seed);
    auto file = bench.stored("f", std::string(512, '0'));
    ASSERT_TRUE(file->write(0, bytesOf(std::string(512, '1'))).ok());
    auto sync = file->sync();
    bench.cut();
    lost += bench.text("f")[0] == '0';
  }
  EXPECT_GT(lost, 0u);
}

TEST(SimVolume, SizesAreOldOrNew) {
  for (uint64_t seed = 0; seed < 50; seed++) {
    Bench bench(seed);
    auto file = bench.stored("f", std::string(6000, 'a'));
    ASSERT_TRUE(file->truncate(1000).ok());
    bench.cut();
    std::string now = bench.text("f");
    ASSERT_TRUE(now.size() == 1000 || now.size() == 6000) << "seed " << seed << ": " << now.size();
    ASSERT_EQ(now.substr(0, 1000), std::string(1000, 'a'));
    // The kernel zeroes the rest of the last sector, and that may reach the device before the size does.
    size_t sectorEnd = std::min<size_t>(now.size(), 1024);
    ASSERT_EQ(now.substr(sectorEnd), std::string(now.size() - sectorEnd, 'a'));
  }
}

TEST(SimVolume, GrowingShowsZerosNeverOldBytes) {
  for (uint64_t seed = 0; seed < 50; seed++) {
    Bench bench(seed);
    auto file = bench.stored("f", std::string(6000, 'a'));
    ASSERT_TRUE(file->truncate(1000).ok());
    ASSERT_TRUE(file->syncNow().ok());
    ASSERT_TRUE(file->truncate(6000).ok());
    bench.cut();
    std::string now = bench.text("f");
    ASSERT_EQ(now.substr(0, 1000), std::string(1000, 'a'));
    ASSERT_EQ(now.substr(1000), std::string(now.size() - 1000, '\0'));
  }
}

TEST(SimVolume, NamesNeedTheirDirectorySynced) {
  unsigned lost = 0, kept = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    Bench bench(seed);
    auto file = bench.open("f");
    ASSERT_TRUE(file->write(0, bytesOf("x")).ok());
    ASSERT_TRUE(file->syncNow().ok());
    bench.cut();
    lost += !bench.disk->exists("f");
    kept += bench.disk->exists("f") && bench.text("f") == "x";
  }
  EXPECT_GT(lost, 0u);
  EXPECT_GT(kept, 0u);
  EXPECT_EQ(lost + kept, 60u) << "the bytes were synced, whatever became of the name";
}

TEST(SimVolume, RenamesAreAtomicAndRemovalsMayComeBack) {
  for (uint64_t seed = 0; seed < 60; seed++) {
    Bench bench(seed);
    bench.stored("a", "first");
    bench.stored("b", "second");
    ASSERT_TRUE(bench.disk->rename("a", "b").ok());
    bench.cut();
    bool renamed = !bench.disk->exists("a");
    ASSERT_EQ(bench.text("b"), renamed ? "first" : "second") << "seed " << seed;
    bench.stored("c", "third");
    ASSERT_TRUE(bench.disk->remove("c").ok());
    bench.cut();
    ASSERT_TRUE(!bench.disk->exists("c") || bench.text("c") == "third");
  }
}

TEST(SimVolume, RenameToAnotherDirectoryIsOneStep) {
  for (uint64_t seed = 0; seed < 60; seed++) {
    Bench bench(seed);
    ASSERT_TRUE(bench.disk->makeDirectory("d").ok());
    bench.stored("f", "text");
    ASSERT_TRUE(bench.disk->rename("f", "d/f").ok());
    if (seed % 2 == 0) {
      ASSERT_TRUE(bench.disk->syncDirectoryNow("d").ok());
    }
    bench.cut();
    ASSERT_NE(bench.disk->exists("f"), bench.disk->exists("d/f")) << "seed " << seed;
    if (seed % 2 == 0) {
      ASSERT_TRUE(bench.disk->exists("d/f"));
    }
  }
}

TEST(SimVolume, SameSeedSameOutcome) {
  auto run = [](uint64_t seed) {
    Bench bench(seed);
    for (int i = 0; i < 10; i++) {
      std::string path = "f" + std::to_string(i);
      auto file = i % 2 == 0 ? bench.stored(path, std::string(5000, 'a')) : bench.open(path);
      (void)file->write(0, bytesOf(std::string(4096, 'b')));
    }
    bench.cut();
    std::string all;
    auto names = bench.disk->list(".");
    for (const auto& name : names.value()) {
      all += name + "=" + bench.text(name) + ";";
    }
    return hash64(all);
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

TEST(SimVolume, TheDeadTouchNothing) {
  Bench bench;
  auto file = bench.stored("f", "alive");
  auto ghostDisk = kj::mv(bench.disk);
  bench.cut();
  EXPECT_EQ(file->write(0, bytesOf("ghost")).code(), EIO);
  EXPECT_EQ(file->syncNow().code(), EIO);
  EXPECT_EQ(ghostDisk->remove("f").code(), EIO);
  file = nullptr;
  EXPECT_EQ(bench.text("f"), "alive");
}

TEST(SimVolume, AProcessDiesAndItsWritesStayInTheCache) {
  Bench bench;
  auto file = bench.open("f");
  ASSERT_TRUE(file->write(0, bytesOf("kept")).ok());
  auto held = bench.disk->lock("lock");
  bench.volume.processDied();
  bench.disk = bench.volume.open();
  EXPECT_EQ(bench.text("f"), "kept");
  EXPECT_TRUE(bench.disk->lock("lock").ok());
}

TEST(SimVolume, FullDiskRefusesGrowthOnly) {
  Bench bench;
  auto file = bench.stored("f", std::string(8192, 'x'));
  bench.volume.setCapacity(8192);
  EXPECT_EQ(file->write(8192, bytesOf("y")).code(), ENOSPC);
  EXPECT_TRUE(file->write(0, bytesOf("y")).ok());
  EXPECT_EQ(bench.disk->space().value().availableBytes, 0u);
  ASSERT_TRUE(file->punch(0, 4096).ok());
  EXPECT_TRUE(file->write(8192, bytesOf("y")).ok());
  file = nullptr;
  ASSERT_TRUE(bench.disk->remove("f").ok());
  EXPECT_EQ(bench.disk->space().value().availableBytes, 8192u);
}

TEST(SimVolume, FaultsFollowFileAndOffsetNotOrder) {
  auto failing = [](bool backwards) {
    Bench bench;
    auto file = bench.stored("f", std::string(64 * 4096, 'x'));
    SimFaults faults;
    faults.seed = 9;
    faults.readError = 100'000;
    bench.volume.setFaults(faults);
    std::vector<int> bad;
    for (int i = 0; i < 64; i++) {
      int block = backwards ? 63 - i : i;
      kj::byte out[10];
      if (!file->readNow(static_cast<uint64_t>(block) * 4096, out).ok()) {
        bad.push_back(block);
      }
    }
    std::sort(bad.begin(), bad.end());
    return bad;
  };
  EXPECT_EQ(failing(false), failing(true));
  EXPECT_GT(failing(false).size(), 0u);
  EXPECT_LT(failing(false).size(), 30u);
}

TEST(SimVolume, RewritingHealsABadBlock) {
  Bench bench;
  auto file = bench.stored("f", std::string(4096, 'x'));
  SimFaults faults;
  faults.readError = 1'000'000;
  bench.volume.setFaults(faults);
  kj::byte out[10];
  EXPECT_EQ(file->readNow(0, out).code(), EIO);
  ASSERT_TRUE(file->write(0, bytesOf(std::string(4096, 'y'))).ok());
  EXPECT_TRUE(file->readNow(0, out).ok());
}

TEST(SimVolume, AfterAFailedSyncTheNextOneLies) {
  Bench bench;
  auto file = bench.stored("f", std::string(512, 'o'));
  ASSERT_TRUE(file->write(0, bytesOf(std::string(512, 'n'))).ok());
  SimFaults faults;
  faults.syncError = 1'000'000;
  bench.volume.setFaults(faults);
  EXPECT_EQ(file->syncNow().code(), EIO);
  EXPECT_TRUE(file->syncNow().ok()) << "as Linux: the error is told once";
  bench.cut();
  EXPECT_EQ(bench.text("f"), std::string(512, 'o'));
}

TEST(SimVolume, LostAndMisdirectedWritesShowWhenTheCacheIsGone) {
  for (bool misdirected : {false, true}) {
    Bench bench;
    auto file = bench.stored("f", std::string(4096, 'a') + std::string(4096, 'b'));
    SimFaults faults;
    (misdirected ? faults.misdirectedWrite : faults.lostWrite) = 1'000'000;
    bench.volume.setFaults(faults);
    ASSERT_TRUE(file->write(4096, bytesOf(std::string(4096, 'c'))).ok());
    ASSERT_TRUE(file->syncNow().ok());
    EXPECT_EQ(bench.text("f"), std::string(4096, 'a') + std::string(4096, 'c'));
    bench.volume.dropCache();
    EXPECT_EQ(bench.text("f"), std::string(4096, misdirected ? 'c' : 'a') + std::string(4096, 'b'));
  }
}

TEST(SimVolume, RotFlipsBitsThatStay) {
  Bench bench;
  bench.stored("f", std::string(40'960, 'x'));
  auto places = bench.volume.rot(1, [](const std::string& path) { return path == "f"; });
  ASSERT_EQ(places.size(), 1u);
  bench.cut();
  std::string now = bench.text("f");
  EXPECT_EQ(std::count_if(now.begin(), now.end(), [](char c) { return c != 'x'; }), 1);
  EXPECT_TRUE(bench.volume.rotAt("f", 0));
  EXPECT_FALSE(bench.volume.rotAt("none", 0));
}

TEST(SimVolume, ColdFilesAreNotInTheCache) {
  Bench bench;
  auto file = bench.stored("f", "text");
  kj::byte out[4];
  EXPECT_TRUE(file->readCached(0, out).ok());
  bench.volume.dropCache();
  EXPECT_EQ(file->readCached(0, out).code(), EAGAIN);
  Nanos before = bench.world.clock().monotonic();
  EXPECT_EQ(bench.world.await(file->read(0, out), SECOND).value(), 4u);
  EXPECT_GT(bench.world.clock().monotonic(), before);
  EXPECT_TRUE(file->readCached(0, out).ok());
}

TEST(SimVolume, AStalledDiskKeepsSyncsWaiting) {
  Bench bench;
  auto file = bench.stored("f", "text");
  ASSERT_TRUE(file->write(0, bytesOf("more")).ok());
  bench.volume.stallUntil(5 * SECOND);
  EXPECT_TRUE(bench.world.await(file->sync(), 10 * SECOND).ok());
  EXPECT_GE(bench.world.clock().monotonic(), 5 * SECOND);
}

// Against the plainest model there is: an array of bytes.
TEST(SimVolume, RandomOperationsMatchAModel) {
  for (uint64_t seed = 0; seed < 30; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Bench bench(seed);
    auto chance = bench.world.random("operations");
    auto file = bench.stored("f", "");
    std::string model;
    for (int i = 0; i < 300; i++) {
      uint64_t offset = chance->below(40'000), length = chance->below(9000);
      switch (chance->below(5)) {
        case 0:
        case 1: {
          std::string data(length, static_cast<char>('a' + i % 26));
          ASSERT_TRUE(file->write(offset, bytesOf(data)).ok());
          if (length > 0) {
            model.resize(std::max<size_t>(model.size(), offset + length));
            model.replace(offset, length, data);
          }
          break;
        }
        case 2:
          ASSERT_TRUE(file->truncate(offset).ok());
          model.resize(offset);
          break;
        case 3:
          ASSERT_TRUE(file->punch(offset, length).ok());
          for (size_t at = offset; at < std::min<size_t>(offset + length, model.size()); at++) {
            model[at] = '\0';
          }
          break;
        default:
          ASSERT_TRUE(file->syncNow().ok());
          if (chance->below(4) == 0) {
            file = nullptr;
            bench.cut();
            file = bench.open("f");
          }
      }
      ASSERT_EQ(bench.text("f"), model) << "step " << i;
    }
  }
}

}  // namespace
}  // namespace cairn
