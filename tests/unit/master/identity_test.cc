// Whose a data directory is, and the record of the term.
#include "master/log/identity.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "master/log/term_record.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{3, 4};

class IdentityTest : public testing::Test {
 protected:
  ~IdentityTest() noexcept {}
  Result<OwnedDirectory> open(ClusterId cluster = CLUSTER, const std::string& member = "m1") {
    return openDirectory(*disk, cluster, member, *random);
  }
  std::string text() {
    auto contents = readWholeFile(*disk, "identity", 4096);
    auto chars = contents.value().asChars();
    return {chars.begin(), chars.size()};
  }
  void setText(const std::string& text) {
    ASSERT_TRUE(replaceFile(*disk, "identity", kj::StringPtr(text.c_str()).asBytes()).ok());
  }

  World world{1};
  kj::Own<Disk> disk = world.volume("m").open();
  kj::Own<SimRandom> random = world.random("test");
};

TEST_F(IdentityTest, IsMadeOnceAndStays) {
  MemberIncarnation first;
  {
    auto opened = open();
    ASSERT_TRUE(opened.ok()) << opened.error().why;
    first = opened.value().identity.incarnation;
    EXPECT_FALSE(first.isNull());
    EXPECT_EQ(opened.value().identity.member, "m1");
  }
  world.volume("m").powerCut();
  disk = world.volume("m").open();
  auto again = open();
  ASSERT_TRUE(again.ok()) << again.error().why;
  EXPECT_EQ(again.value().identity.incarnation, first);
  EXPECT_EQ(again.value().identity.cluster, CLUSTER);
}

TEST_F(IdentityTest, AnotherProcessHasIt) {
  auto opened = open();
  auto second = open();
  EXPECT_EQ(second.code(), EWOULDBLOCK);
  EXPECT_NE(second.error().why.find("lock"), std::string::npos);
}

TEST_F(IdentityTest, AnotherCluster) {
  { auto opened = open(); }
  auto second = open(ClusterId{5, 6});
  EXPECT_EQ(second.code(), EINVAL);
  EXPECT_NE(second.error().why.find(toText(CLUSTER)), std::string::npos);
  EXPECT_NE(second.error().why.find(toText(ClusterId{5, 6})), std::string::npos);
}

TEST_F(IdentityTest, AnotherMember) {
  { auto opened = open(); }
  auto second = open(CLUSTER, "m2");
  EXPECT_EQ(second.code(), EINVAL);
  EXPECT_NE(second.error().why.find("\"m1\""), std::string::npos);
}

TEST_F(IdentityTest, ANewerFormat) {
  { auto opened = open(); }
  auto changed = text();
  changed.replace(changed.find("format = 1"), 10, "format = 2");
  setText(changed);
  auto second = open();
  EXPECT_EQ(second.code(), EPROTO);
  EXPECT_NE(second.error().why.find("newer version"), std::string::npos);
}

TEST_F(IdentityTest, EveryDamagedByteIsRefusedOrHarmless) {
  { auto opened = open(); }
  auto whole = text();
  for (size_t at = 0; at < whole.size(); ++at) {
    auto bytes = whole;
    bytes[at] ^= 1;
    setText(bytes);
    auto opened = open();
    EXPECT_FALSE(opened.ok()) << "byte " << at;
  }
  setText("");
  EXPECT_EQ(open().code(), EIO);
  setText(whole);
  EXPECT_TRUE(open().ok());
}

TEST_F(IdentityTest, FilesWithoutAnIdentity) {
  ASSERT_TRUE(replaceFile(*disk, "precious", kj::StringPtr("data").asBytes()).ok());
  auto opened = open();
  EXPECT_EQ(opened.code(), EINVAL);
  EXPECT_NE(opened.error().why.find("precious"), std::string::npos);
  EXPECT_FALSE(disk->exists("identity"));
}

TEST_F(IdentityTest, TermsAreKeptWhole) {
  EXPECT_EQ(readTermRecord(*disk, "term").value().term, Term{});
  ASSERT_TRUE(writeTermRecord(*disk, "term", {Term{7}, "m2"}).ok());
  world.volume("m").powerCut();
  disk = world.volume("m").open();
  auto read = readTermRecord(*disk, "term");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value().term, Term{7});
  EXPECT_EQ(read.value().votedFor, "m2");
  for (uint64_t at = 0; at < 18; ++at) {
    world.volume("m").rotAt("term", at);
    EXPECT_EQ(readTermRecord(*disk, "term").code(), EIO) << at;
    ASSERT_TRUE(writeTermRecord(*disk, "term", {Term{7}, "m2"}).ok());
  }
}

TEST_F(IdentityTest, ACopyIsKnownByItsPlace) {
  ASSERT_TRUE(open().ok());
  EXPECT_FALSE(open().value().isCopy) << "it was only opened again";
  ASSERT_TRUE(disk->remove("lock").ok());  // the file that is made instead is another, as in a copy
  auto copy = open();
  ASSERT_TRUE(copy.ok()) << copy.error().why;
  EXPECT_TRUE(copy.value().isCopy);
  ASSERT_TRUE(saveIdentity(*disk, copy.value().identity).ok());
  copy = Error{EIO, "closed"};
  EXPECT_FALSE(open().value().isCopy) << "its place was accepted";
}

TEST_F(IdentityTest, ThePlaceSurvivesAPowerCut) {
  ASSERT_TRUE(open().ok());
  world.volume("m").powerCut();
  disk = world.volume("m").open();
  EXPECT_FALSE(open().value().isCopy);
}

}  // namespace
}  // namespace cairn
