// What is brought out with names from a hostile image stays in its directory.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/system/tree_writer.h"

namespace cairn {
namespace {

class TreeWriterTest : public testing::Test {
 protected:
  ~TreeWriterTest() noexcept override {}

  void SetUp() override {
    char name[] = "/tmp/cairn-tree-XXXXXX";
    base_ = mkdtemp(name);
    outside_ = base_ + "/outside";
    ASSERT_EQ(mkdir(outside_.c_str(), 0700), 0);
    writer_ = TreeWriter::open(base_ + "/to").value();
  }
  void TearDown() override {
    std::string command = "rm -rf " + base_;
    EXPECT_EQ(system(command.c_str()), 0);
  }
  bool put(const std::string& path) {
    auto file = writer_->createFile(path);
    return file.ok() && file.value()->write(0, kj::StringPtr("x").asBytes()).ok() &&
           file.value()->finish(1, own(0100644)).ok();
  }
  static TreeAttributes own(uint32_t mode) { return {mode, geteuid(), getegid()}; }
  bool exists(const std::string& path) {
    struct stat info {};
    return lstat((base_ + "/" + path).c_str(), &info) == 0;
  }

  std::string base_, outside_;
  kj::Own<TreeWriter> writer_;
};

TEST_F(TreeWriterTest, NamesThatLeadOutAreRefused) {
  ASSERT_TRUE(writer_->makeDirectory("d").ok());
  for (const char* path :
       {"..", ".", "", "../outside/f", "d/../../outside/f", "/outside/f", "d/..", "../to/../outside/f"}) {
    EXPECT_FALSE(put(path)) << path;
    EXPECT_FALSE(writer_->makeDirectory(path).ok()) << path;
    EXPECT_FALSE(writer_->makeSymlink(path, "x", own(0)).ok()) << path;
    EXPECT_FALSE(writer_->makeNode(path, 0, own(S_IFIFO)).ok()) << path;
    EXPECT_FALSE(writer_->makeLink("d/f", path).ok()) << path;
  }
  EXPECT_FALSE(exists("outside/f"));
  for (std::string name : {"", ".", "..", "a/b", "/"}) {
    EXPECT_FALSE(TreeWriter::isName(name)) << name;
  }
  EXPECT_FALSE(TreeWriter::isName(std::string("a\0b", 3)));
}

// First a symbolic link that leads out, then files below it: the links are made, and never followed.
TEST_F(TreeWriterTest, LinksAreNotFollowed) {
  ASSERT_TRUE(writer_->makeSymlink("out", outside_, own(0)).ok());
  ASSERT_TRUE(writer_->makeSymlink("file", outside_ + "/file", own(0)).ok());
  EXPECT_FALSE(put("out/f"));
  EXPECT_FALSE(writer_->makeDirectory("out/d").ok());
  EXPECT_FALSE(writer_->makeDirectory("out").ok()) << "a link isn't the directory that it leads to";
  EXPECT_FALSE(writer_->finishDirectory("out", own(040777)).ok());
  EXPECT_TRUE(put("file")) << "the link is replaced";
  EXPECT_FALSE(exists("outside/f") || exists("outside/d") || exists("outside/file"));
  EXPECT_TRUE(writer_->makeSymlink("file", "elsewhere", own(0)).ok()) << "and so is what is there";
}

TEST_F(TreeWriterTest, AFileAppearsWhenItIsWhole) {
  {
    auto file = writer_->createFile("f");
    ASSERT_TRUE(file.ok() && file.value()->write(0, kj::StringPtr("half").asBytes()).ok());
    EXPECT_FALSE(exists("to/f"));
  }
  EXPECT_FALSE(exists("to/f"));
  auto attributes = own(0100604);
  attributes.modifiedSeconds = 1234567;
  attributes.modifiedNanos = 89;
  auto file = writer_->createFile("f");
  ASSERT_TRUE(file.ok() && file.value()->finish(5000, attributes).ok());
  EXPECT_TRUE(writer_->isDone("f", 5000, attributes));
  EXPECT_FALSE(writer_->isDone("f", 5001, attributes));
  attributes.modifiedNanos = 90;
  EXPECT_FALSE(writer_->isDone("f", 5000, attributes));
}

}  // namespace
}  // namespace cairn
