// ExtentMap against an array: random writes, cuts, takes and merges; nothing in a buffer changes that was taken out.
#include "fuse-client/client/extent_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/sim/world/sim_random.h"

namespace cairn {
namespace {

constexpr uint64_t SPACE = 40000;
constexpr uint64_t UNIT = 16384;

class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed, "extents"), bytes_(SPACE, -1) {}

  void step() {
    uint64_t from = random_.below(SPACE - 1);
    uint64_t to = std::min(SPACE, from + 1 + random_.below(random_.chance(500'000) ? 300 : 20000));
    switch (random_.below(6)) {
      case 0:
      case 1:
        write(from, to);
        break;
      case 2:
        write(lastEnd_, std::min(SPACE, lastEnd_ + 1 + random_.below(3000)));  // appends
        break;
      case 3:
        map_.erase(from, to);
        std::fill(bytes_.begin() + static_cast<long>(from), bytes_.begin() + static_cast<long>(to), -1);
        break;
      case 4:
        take(from, to);
        break;
      case 5:
        putBack();
        break;
    }
    check();
  }

 private:
  void write(uint64_t from, uint64_t to) {
    if (from >= to) {
      return;
    }
    std::string data(to - from, static_cast<char>(random_.below(120)));
    auto view = kj::arrayPtr(reinterpret_cast<const kj::byte*>(data.data()), data.size());
    map_.write(pool_, from, view, UNIT, ++sequence_);
    std::fill(bytes_.begin() + static_cast<long>(from), bytes_.begin() + static_cast<long>(to), data[0]);
    lastEnd_ = to;
  }

  void take(uint64_t from, uint64_t to) {
    for (auto& extent : map_.take(from, to)) {
      auto bytes = extent.bytes();
      copies_.push_back(std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size()));
      taken_.push_back(kj::mv(extent));
    }
    std::fill(bytes_.begin() + static_cast<long>(from), bytes_.begin() + static_cast<long>(to), -1);
  }

  // Under what was written since, as lost bytes are.
  void putBack() {
    for (auto& extent : taken_) {
      map_.putUnder(extent);
      for (uint64_t i = 0; i < extent.length; ++i) {
        int& byte = bytes_[extent.offset + i];
        byte = byte == -1 ? extent.bytes()[i] : byte;
      }
    }
    taken_.clear();
    copies_.clear();
  }

  void check() {
    uint64_t total = 0, last = 0;
    std::vector<int> seen(SPACE, -1);
    for (auto& [offset, extent] : map_.extents()) {
      ASSERT_EQ(offset, extent.offset);
      ASSERT_GE(offset, last) << "overlap";
      ASSERT_EQ(offset / UNIT, (extent.end() - 1) / UNIT) << "crosses a unit";
      last = extent.end();
      total += extent.length;
      std::copy(extent.bytes().begin(), extent.bytes().end(), seen.begin() + static_cast<long>(offset));
    }
    ASSERT_EQ(total, map_.bytes());
    ASSERT_TRUE(seen == bytes_);
    for (size_t i = 0; i < taken_.size(); ++i) {
      auto bytes = taken_[i].bytes();
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size()), copies_[i])
          << "bytes on their way changed";
    }
    uint64_t from = random_.below(SPACE - 1), to = from + 1 + random_.below(SPACE - 1 - from);
    auto first = bytes_.begin() + static_cast<long>(from), end = bytes_.begin() + static_cast<long>(to);
    ASSERT_EQ(map_.overlaps(from, to), std::any_of(first, end, [](int byte) { return byte != -1; }));
    ASSERT_EQ(map_.covers(from, to), std::find(first, end, -1) == end);
  }

  BufferPool pool_;
  SimRandom random_;
  ExtentMap map_;
  std::vector<int> bytes_;
  std::vector<Extent> taken_;
  std::vector<std::string> copies_;
  uint64_t sequence_ = 0;
  uint64_t lastEnd_ = 0;
};

TEST(ExtentMap, EqualsAnArray) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Model model(seed);
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) {
      model.step();
    }
  }
}

TEST(ExtentMap, SmallAppendsShareABuffer) {
  BufferPool pool;
  ExtentMap map;
  std::string data(100, 'x');
  for (uint64_t i = 0; i < 1000; ++i) {
    map.write(pool, i * 100, kj::arrayPtr(reinterpret_cast<const kj::byte*>(data.data()), data.size()), 1u << 20, i);
  }
  EXPECT_EQ(map.bytes(), 100000u);
  EXPECT_LE(map.count(), 6u);
}

TEST(BufferPool, MemoryIsUsedAgainAndBounded) {
  BufferPool pool;
  const kj::byte* first;
  {
    auto buffer = pool.get(100'000);
    first = buffer->begin();
    EXPECT_GE(buffer->capacity(), 100'000u);
  }
  EXPECT_EQ(pool.get(100'001)->begin(), first);
}

}  // namespace
}  // namespace cairn
