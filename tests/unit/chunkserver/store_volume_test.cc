// A volume's chunks: what is written is read, by every way a chunk can take from small to large and back to nothing.
#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

TEST(StoreVolume, SmallChunkReadsBack) {
  StoreWorld w(1);
  w.open();
  auto data = pattern(7, 1000);
  auto written = w.write(keyOf(5), 0, data);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written.value().allocatedDelta, 4096);
  auto read = w.read(keyOf(5), 0, 8192);
  EXPECT_TRUE(read.unreadable.empty());
  data.resize(8192);
  EXPECT_EQ(read.bytes, data);
}

TEST(StoreVolume, LargeChunkReadsBackAfterRestart) {
  StoreWorld w(2);
  w.open();
  auto data = pattern(8, 1 << 20);
  ASSERT_TRUE(w.write(keyOf(5), 1 << 20, data).ok());
  ASSERT_TRUE(w.sync(keyOf(5)).ok());
  w.close();
  w.open();
  EXPECT_FALSE(w.store().stoppedUnclean());
  auto read = w.read(keyOf(5), 1 << 20, 1 << 20);
  EXPECT_TRUE(read.unreadable.empty());
  EXPECT_EQ(read.bytes, data);
  EXPECT_EQ(w.store().counters().dirtyChunks, 0u);
}

}  // namespace
}  // namespace cairn
