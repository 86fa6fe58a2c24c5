// Changes of a cluster.toml: the result can be read, and the other lines are as they were.
#include "tools/admin/cluster_edit.h"

#include <gtest/gtest.h>

namespace cairn::admin {
namespace {

const std::string BEFORE = R"(# ours
cluster = "0123456789abcdef0123456789abcdef"

[[master]]
name = "m1"
address = "127.0.0.1:7000"
socket = "run/m1.sock"

[defaults]
copies = 1
)";

TEST(ClusterEdit, AMasterComesAfterTheOthers) {
  std::string after = withMaster(BEFORE, {"m2", "10.0.0.2:7000", "/run/m2.sock"});
  auto read = parseClusterFile(after, "/srv/cluster.toml");
  ASSERT_TRUE(read.ok()) << read.error().why;
  ASSERT_EQ(read.value().masters.size(), 2u);
  EXPECT_EQ(read.value().masters[1].name, "m2");
  EXPECT_EQ(read.value().masters[1].address, "10.0.0.2:7000");
  EXPECT_EQ(read.value().masters[1].socket, "/run/m2.sock");
  EXPECT_EQ(read.value().copies, 1u);
  EXPECT_LT(after.find("m2"), after.find("[defaults]"));
  EXPECT_EQ(after.find("# ours"), 0u);
  auto again = parseClusterFile(withMaster(after, {"m3", "10.0.0.3:7000", ""}), "/srv/cluster.toml");
  ASSERT_TRUE(again.ok()) << again.error().why;
  EXPECT_EQ(again.value().masters[2].name, "m3");
}

TEST(ClusterEdit, AMasterComesLastWhereNothingFollows) {
  std::string bare = BEFORE.substr(0, BEFORE.find("\n[defaults]"));
  auto read = parseClusterFile(withMaster(bare, {"m2", "10.0.0.2:7000", ""}), "c");
  ASSERT_TRUE(read.ok()) << read.error().why;
  EXPECT_EQ(read.value().masters.size(), 2u);
}

TEST(ClusterEdit, TheEpochIsWrittenOnceAndReplaced) {
  GroupEpoch first = recoveredEpoch(GroupEpoch{}, 5), second = recoveredEpoch(first, 6);
  std::string once = withEpoch(BEFORE, first), twice = withEpoch(once, second);
  for (const auto& [text, epoch] : {std::pair{once, first}, {twice, second}}) {
    auto read = parseClusterFile(text, "c");
    ASSERT_TRUE(read.ok()) << read.error().why;
    EXPECT_EQ(read.value().epoch, epoch);
    EXPECT_EQ(read.value().masters.size(), 1u);
  }
  EXPECT_EQ(once.size(), twice.size());
}

}  // namespace
}  // namespace cairn::admin
