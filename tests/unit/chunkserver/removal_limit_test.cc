#include "chunkserver/removal_limit.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

constexpr bool LEAVES = true, STAYS = false;

TEST(RemovalLimit, AFewGoByThemselves) {
  EXPECT_FALSE(mustBeAgreed({0, 0}, {0, 0}, 0, STAYS));
  EXPECT_FALSE(mustBeAgreed({FEW_CHUNKS, 0}, {0, 0}, FEW_CHUNKS, STAYS));
  EXPECT_FALSE(mustBeAgreed({200, 0}, {0, 0}, 1000, STAYS));
}

TEST(RemovalLimit, AMassOfThemNeedsAgreement) {
  EXPECT_TRUE(mustBeAgreed({201, 0}, {0, 0}, 1000, STAYS));
  EXPECT_TRUE(mustBeAgreed({201, 0}, {0, 0}, 1000, LEAVES)) << "that nobody asked for";
  EXPECT_TRUE(mustBeAgreed({10, 0}, {200, 0}, 800, STAYS)) << "not in small portions either";
  EXPECT_FALSE(mustBeAgreed({0, 10}, {500, 0}, 500, STAYS)) << "what went doesn't hold up others";
}

TEST(RemovalLimit, ChunksThatAreElsewhereMayBeMore) {
  EXPECT_FALSE(mustBeAgreed({0, 500}, {0, 0}, 1000, STAYS)) << "a second chunkserver takes half";
  EXPECT_TRUE(mustBeAgreed({0, 601}, {0, 0}, 1000, STAYS));
  EXPECT_FALSE(mustBeAgreed({0, 1000}, {0, 0}, 1000, LEAVES));
}

}  // namespace
}  // namespace cairn
