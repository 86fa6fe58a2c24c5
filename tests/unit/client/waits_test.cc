// The list of what operations wait for.
#include "fuse-client/client/waits.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/sim/world/world.h"

namespace cairn {
namespace {

template <typename Describe>
std::unique_ptr<Waits::Note<Describe>> note(Waits& waits, Describe describe) {
  return std::make_unique<Waits::Note<Describe>>(waits, describe);
}

std::string texts(const Waits& waits) {
  std::string out;
  for (auto& wait : waits.list()) {
    out += wait.text + ";";
  }
  return out;
}

TEST(Waits, AreListedOldestFirstForAsLongAsTheyLast) {
  World world(1);
  Waits waits(world.clock());
  EXPECT_TRUE(waits.list().empty());
  auto first = note(waits, [](Wait& out) { out.text = "a"; });
  world.runFor(SECOND);
  auto second = note(waits, [](Wait& out) { out.text = "b"; });
  auto third = note(waits, [](Wait& out) { out.text = "c"; });
  EXPECT_EQ(texts(waits), "a;b;c;");
  EXPECT_EQ(waits.list()[0].nanos, SECOND);
  EXPECT_EQ(waits.list()[1].nanos, 0);
  second = nullptr;
  EXPECT_EQ(texts(waits), "a;c;");
  first = nullptr;
  third = nullptr;
  EXPECT_TRUE(waits.list().empty());
}

TEST(Waits, SayHowThingsAreWhenSomebodyAsks) {
  World world(1);
  Waits waits(world.clock());
  std::string server = "c1";
  auto one = note(waits, [&server](Wait& out) { out.text = server; });
  EXPECT_EQ(texts(waits), "c1;");
  server = "c2";
  EXPECT_EQ(texts(waits), "c2;");
}

}  // namespace
}  // namespace cairn
