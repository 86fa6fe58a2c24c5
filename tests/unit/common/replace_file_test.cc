// replaceFile() keeps the old or the new whole, whatever fails at whatever point.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr uint64_t LIMIT = 1 << 20;

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::string contents(Disk& disk) {
  auto got = readWholeFile(disk, "d/f", LIMIT);
  return got.ok() ? std::string(got.value().asChars().begin(), got.value().size()) : "error: " + got.error().why;
}

void prepare(Disk& disk, const std::string& text) {
  ASSERT_TRUE(disk.makeDirectory("d").ok());
  ASSERT_TRUE(disk.syncDirectoryNow(".").ok());
  ASSERT_TRUE(replaceFile(disk, "d/f", bytesOf(text)).ok());
}

const std::string OLD(7000, 'o');
const std::string NEW(12'000, 'n');

// Fails the n-th access, for good or once, and loses power or not; then looks.
void tryFailing(uint64_t nth, bool forGood, bool cut, bool& succeeded) {
  SCOPED_TRACE("access " + std::to_string(nth) + (forGood ? " for good" : "") + (cut ? " cut" : ""));
  World world(nth);
  SimVolume& volume = world.volume("v");
  {
    auto disk = volume.open();
    prepare(*disk, OLD);
    volume.setTrip({nth, EIO, forGood});
    auto status = replaceFile(*disk, "d/f", bytesOf(NEW));
    succeeded = status.ok();
    if (!status.ok()) {
      EXPECT_EQ(status.code(), EIO);
      EXPECT_NE(status.error().why.find("/sim/v/"), std::string::npos) << status.error().why;
    }
    volume.setTrip({});
  }
  if (cut) {
    volume.powerCut();
  }
  auto disk = volume.open();
  std::string now = contents(*disk);
  EXPECT_TRUE(succeeded ? now == NEW : now == OLD || now == NEW) << now.substr(0, 60);
  EXPECT_TRUE(replaceFile(*disk, "d/f", bytesOf("again")).ok());
  EXPECT_EQ(contents(*disk), "again");
}

TEST(ReplaceFile, SurvivesTheFailureOfAnyAccess) {
  for (bool forGood : {false, true}) {
    for (bool cut : {false, true}) {
      uint64_t nth = 0;
      for (bool succeeded = false; !succeeded;) {
        tryFailing(++nth, forGood, cut, succeeded);
        ASSERT_LT(nth, 50u);
      }
      EXPECT_GE(nth, 6u) << "open, truncate, write, sync, rename, sync directory";
    }
  }
}

TEST(ReplaceFile, ManyPowerCuts) {
  unsigned old = 0, young = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    World world(seed);
    SimVolume& volume = world.volume("v");
    auto disk = volume.open();
    prepare(*disk, OLD);
    // Dies somewhere on the way: all accesses after the first few fail, then the power does.
    volume.setTrip({1 + seed % 6, EIO, true});
    EXPECT_FALSE(replaceFile(*disk, "d/f", bytesOf(NEW)).ok());
    volume.setTrip({});
    volume.powerCut();
    std::string now = contents(*volume.open());
    old += now == OLD;
    young += now == NEW;
    ASSERT_EQ(old + young, seed + 1) << "seed " << seed << ": neither old nor new: " << now.substr(0, 60);
  }
  EXPECT_GT(old, 0u);
  EXPECT_GT(young, 0u) << "the rename was never kept, so the test shows little";
}

TEST(ReplaceFile, FullDiskKeepsTheOld) {
  World world(1);
  SimVolume& volume = world.volume("v");
  auto disk = volume.open();
  prepare(*disk, OLD);
  volume.setCapacity(volume.usedBytes() + 4096);
  EXPECT_EQ(replaceFile(*disk, "d/f", bytesOf(NEW)).code(), ENOSPC);
  EXPECT_EQ(contents(*disk), OLD);
  EXPECT_FALSE(disk->exists("d/f.new"));
}

}  // namespace
}  // namespace cairn
