// Who is odd when the masters compare their states.
#include "master/digests.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

constexpr raft::MemberId A{1}, B{2}, C{3};
using Members = std::vector<raft::MemberId>;

TEST(Digests, TheOneThatDiffersFromMostIsOdd) {
  EXPECT_EQ(judge({{A, 7}, {B, 7}, {C, 8}}, 3).odd, Members{C});
  EXPECT_EQ(judge({{A, 8}, {B, 7}, {C, 7}}, 3).odd, Members{A});
  EXPECT_EQ(judge({{A, 7}, {B, 7}}, 3).odd, Members{});
  EXPECT_TRUE(judge({{A, 7}, {B, 7}, {C, 7}}, 3).equal);
}

TEST(Digests, WithoutAMajorityNobodyIs) {
  EXPECT_EQ(judge({{A, 7}, {B, 8}}, 3).odd, Members{});
  EXPECT_FALSE(judge({{A, 7}, {B, 8}}, 3).equal);
  EXPECT_EQ(judge({{A, 7}, {B, 8}, {C, 9}}, 3).odd, Members{});
  EXPECT_EQ(judge({{A, 7}, {B, 7}, {C, 8}}, 5).odd, Members{});
}

TEST(Digests, CheckpointsAreTheSameEntriesForAll) {
  DigestHistory history;
  for (uint64_t i = 1; i <= DigestHistory::EVERY * (DigestHistory::KEPT + 2); ++i) {
    history.applied(LogIndex{i}, i * 3);
  }
  LogIndex second{DigestHistory::EVERY * 2}, third{DigestHistory::EVERY * 3};
  EXPECT_EQ(history.at(third), std::optional<uint64_t>(raw(third) * 3));
  EXPECT_EQ(history.at(second), std::nullopt);  // too long ago
  EXPECT_EQ(history.newest(LogIndex{raw(third) + 5}), std::optional<LogIndex>(third));
  EXPECT_EQ(history.newest(second), std::nullopt);
  history.clear();
  EXPECT_EQ(history.newest(third), std::nullopt);
}

}  // namespace
}  // namespace cairn
