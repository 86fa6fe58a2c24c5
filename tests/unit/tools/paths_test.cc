#include "tools/admin/paths.h"

#include <gtest/gtest.h>

#include "tests/unit/tools/admin_world.h"
#include "tools/admin/output.h"

namespace cairn::admin {
namespace {

class Paths : public testing::Test {
 protected:
  Paths() {
    admin.context.workingDirectory = "/srv/data/sub";
    admin.context.mounts = {{"/", "ext4", "disk"},
                            {"/srv/data", "fuse.dfs", "cluster.toml"},
                            {"/srv/data/other", "tmpfs", "none"},
                            {"/srv/data2", "fuse.sshfs", "x"}};
  }
  std::string of(const std::string& path) {
    auto result = clusterPath(admin.context, path);
    return result.ok() ? result.value() : "error";
  }
  AdminWorld admin;
};

TEST_F(Paths, InsideAMountAreCutAtIt) {
  EXPECT_EQ(of("/srv/data/a/b"), "/a/b");
  EXPECT_EQ(of("/srv/data"), "/");
  EXPECT_EQ(of("/srv/data/"), "/");
  EXPECT_EQ(of("/srv/./data//a/../b"), "/b");
}

TEST_F(Paths, RelativeOnesStartInTheWorkingDirectory) {
  EXPECT_EQ(of("x"), "/sub/x");
  EXPECT_EQ(of("../x"), "/x");
  EXPECT_EQ(of("."), "/sub");
}

TEST_F(Paths, AbsoluteOnesElsewhereCountFromTheRootOfTheCluster) {
  EXPECT_EQ(of("/a/b"), "/a/b");
  EXPECT_EQ(of("/srv/data2/x"), "/srv/data2/x");
  EXPECT_EQ(of("/srv/data/other/x"), "/srv/data/other/x");
  EXPECT_EQ(of("/../.."), "/");
}

TEST_F(Paths, RelativeOnesOutsideEveryMountAreRefused) {
  admin.context.workingDirectory = "/elsewhere";
  auto result = clusterPath(admin.context, "x");
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().why.find("/elsewhere/x"), std::string::npos);
}

TEST(Texts, SizesAndTimesAreShort) {
  EXPECT_EQ(sizeText(0), "0 B");
  EXPECT_EQ(sizeText(1023), "1023 B");
  EXPECT_EQ(sizeText(1536), "1.5 KiB");
  EXPECT_EQ(sizeText(uint64_t{200} << 30), "200 GiB");
  EXPECT_EQ(sizeText(UINT64_MAX), "16384 PiB");
  EXPECT_EQ(durationText(59), "59 s");
  EXPECT_EQ(durationText(200), "3 m 20 s");
  EXPECT_EQ(durationText(7260), "2 h 1 m");
}

}  // namespace
}  // namespace cairn::admin
