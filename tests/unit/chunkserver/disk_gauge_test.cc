#include "chunkserver/store/disk_gauge.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

struct Disk {
  // One after another.
  void read(unsigned times, Nanos took, uint64_t bytes) {
    for (unsigned i = 0; i < times; ++i) {
      now += took;
      gauge.read(took, bytes, now);
    }
  }
  bool slow() const { return gauge.slow(now); }

  DiskGauge gauge;
  Nanos now = 1000 * SECOND;
};

TEST(DiskGauge, aDiskOfAMebibyteASecondIsSlowHoweverItIsRead) {
  Disk large, medium, mixed;
  large.read(4, SECOND, 1 << 20);
  EXPECT_TRUE(large.slow());
  medium.read(8, 125 * MILLISECOND, 128 << 10);
  EXPECT_TRUE(medium.slow());
  for (unsigned i = 0; i < 4; ++i) {
    mixed.read(3, 4 * MILLISECOND, 4 << 10);
    mixed.read(1, SECOND, 1 << 20);
  }
  EXPECT_TRUE(mixed.slow());
}

TEST(DiskGauge, aSoundDiskThatIsAskedALotIsNot) {
  Disk one;
  one.read(16, 15 * MILLISECOND, 4096);
  EXPECT_FALSE(one.slow());
  for (unsigned i = 0; i < 16; ++i) {  // twenty at a time: each waits for those before it
    one.now += 12 * MILLISECOND;
    one.gauge.read(240 * MILLISECOND, 4096, one.now);
  }
  EXPECT_FALSE(one.slow());
  one.read(1, SECOND, 4096);
  EXPECT_FALSE(one.slow()) << "one that took long is no rule";
}

TEST(DiskGauge, itForgets) {
  Disk disk;
  disk.read(3, SECOND, 1 << 20);
  EXPECT_FALSE(disk.slow()) << "too few to say";
  disk.read(5, SECOND, 1 << 20);
  EXPECT_TRUE(disk.slow());
  disk.read(16, 10 * MILLISECOND, 1 << 20);
  EXPECT_FALSE(disk.slow()) << "it is fast again";
  disk.read(8, SECOND, 1 << 20);
  EXPECT_TRUE(disk.slow());
  disk.now += DiskGauge::FORGOTTEN;
  EXPECT_FALSE(disk.slow()) << "nothing is known of now";
}

TEST(DiskGauge, syncsCountByThemselves) {
  Disk disk;
  disk.read(16, MILLISECOND, 4096);
  for (unsigned i = 0; i < 4; ++i) {
    disk.now += 4 * SECOND;
    disk.gauge.sync(4 * SECOND, disk.now);
  }
  EXPECT_TRUE(disk.slow());
}

}  // namespace
}  // namespace cairn
