// Names: make, link, unlink, rename, lookup. Each rule and each error by name.
#include <gtest/gtest.h>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIR_MODE = S_IFDIR | 0755;
constexpr uint32_t NOREPLACE = 1;
constexpr uint32_t EXCHANGE = 2;
constexpr uint32_t WHITEOUT = 4;

class Names : public testing::Test {
 protected:
  InodeId dir(const std::string& name, uint32_t permissions = 0755, InodeId parent = ROOT_INODE,
              const TestCaller& caller = ROOT) {
    auto made = ns.make(parent, name, S_IFDIR | permissions, caller);
    EXPECT_EQ(made.code(), 0);
    return made.inode();
  }
  InodeId file(const std::string& name, InodeId parent = ROOT_INODE, const TestCaller& caller = ROOT) {
    auto made = ns.make(parent, name, FILE_MODE, caller);
    EXPECT_EQ(made.code(), 0);
    return made.inode();
  }
  uint32_t links(InodeId inode) { return ns.stat(inode).getLinks(); }

  TestNamespace ns;
};

TEST_F(Names, MakeFillsTheAttributes) {
  auto shared = dir("shared", 0777);
  ns.tick();
  auto made = ns.make(shared, "f", S_IFREG | 0640, ALICE);
  ASSERT_EQ(made.code(), 0);
  auto got = made.attributes();
  EXPECT_EQ(got.getMode(), S_IFREG | 0640u);
  EXPECT_EQ(got.getUid(), ALICE.uid);
  EXPECT_EQ(got.getGid(), ALICE.gid);
  EXPECT_EQ(got.getLinks(), 1u);
  EXPECT_EQ(got.getSize(), 0u);
  EXPECT_EQ(got.getModified().getSeconds(), ns.now());
  EXPECT_EQ(got.getCreated().getSeconds(), ns.now());
  EXPECT_NE(got.getLayout().getObject(), 0u);
  EXPECT_EQ(got.getLayout().getChunkBits(), DEFAULT_CHUNK_BITS);
  EXPECT_EQ(made.get().getParent().getModified().getSeconds(), ns.now());
  EXPECT_EQ(made.get().getParent().getChanged().getSeconds(), ns.now());
  EXPECT_EQ(made.applied().changes.made, made.inode());
}

TEST_F(Names, MakeOfADirectoryCountsLinks) {
  auto a = dir("a");
  EXPECT_EQ(links(a), 2u);
  EXPECT_EQ(links(ROOT_INODE), 3u);
  dir("b", 0755, a);
  EXPECT_EQ(links(a), 3u);
  EXPECT_EQ(ns.stat(a).getParent(), raw(ROOT_INODE));
  EXPECT_EQ(ns.unlink(a, "b", true).code(), 0);
  EXPECT_EQ(links(a), 2u);
}

TEST_F(Names, MakeOfASymlink) {
  auto made = ns.make(ROOT_INODE, "s", S_IFLNK | 0600, ROOT, "to/where");
  ASSERT_EQ(made.code(), 0);
  EXPECT_EQ(made.attributes().getMode(), S_IFLNK | 0777u);
  EXPECT_EQ(made.attributes().getSize(), 8u);
  capnp::MallocMessageBuilder answer;
  EXPECT_EQ(ns.query([&](auto query) { query.setReadLink(raw(made.inode())); }, answer), 0);
  auto target = answer.getRoot<wire::Answer>().getBytes().asChars();
  EXPECT_EQ(std::string(target.begin(), target.end()), "to/where");
  EXPECT_EQ(ns.make(ROOT_INODE, "e", S_IFLNK, ROOT, "").code(), ENOENT);
  EXPECT_EQ(ns.make(ROOT_INODE, "l", S_IFLNK, ROOT, std::string(4096, 'x')).code(), ENAMETOOLONG);
  EXPECT_EQ(ns.make(ROOT_INODE, "m", S_IFLNK, ROOT, std::string(4095, 'x')).code(), 0);
  capnp::MallocMessageBuilder other;
  EXPECT_EQ(ns.query([&](auto query) { query.setReadLink(raw(ROOT_INODE)); }, other), EINVAL);
}

TEST_F(Names, MakeOfSpecialFiles) {
  EXPECT_EQ(ns.make(ROOT_INODE, "fifo", S_IFIFO | 0600).code(), 0);
  EXPECT_EQ(ns.make(ROOT_INODE, "sock", S_IFSOCK | 0600).code(), 0);
  auto made = ns.make(ROOT_INODE, "chr", S_IFCHR | 0600, ROOT, "", 0x501);
  EXPECT_EQ(made.attributes().getDevice(), 0x501u);
  auto shared = dir("shared", 0777);
  EXPECT_EQ(ns.make(shared, "chr", S_IFCHR | 0600, ALICE, "", 0x501).code(), EPERM);
  EXPECT_EQ(ns.make(shared, "blk", S_IFBLK | 0600, ALICE, "", 0x501).code(), EPERM);
  EXPECT_EQ(ns.make(shared, "whiteout", S_IFCHR, ALICE).code(), 0);
  EXPECT_EQ(ns.make(shared, "fifo", S_IFIFO | 0600, ALICE).code(), 0);
  EXPECT_EQ(ns.make(ROOT_INODE, "odd", 0030000).code(), EINVAL);
}

TEST_F(Names, MakeErrors) {
  auto f = file("f");
  auto closed = dir("closed", 0700);
  auto readable = dir("readable", 0755);
  EXPECT_EQ(ns.make(InodeId{999}, "x", FILE_MODE).code(), ESTALE);
  EXPECT_EQ(ns.make(f, "x", FILE_MODE).code(), ENOTDIR);
  EXPECT_EQ(ns.make(closed, "x", FILE_MODE, ALICE).code(), EACCES);
  EXPECT_EQ(ns.make(readable, "x", FILE_MODE, ALICE).code(), EACCES);
  EXPECT_EQ(ns.make(ROOT_INODE, "f", FILE_MODE).code(), EEXIST);
  EXPECT_EQ(ns.make(ROOT_INODE, ".", FILE_MODE).code(), EEXIST);
  EXPECT_EQ(ns.make(ROOT_INODE, "..", FILE_MODE).code(), EEXIST);
  EXPECT_EQ(ns.make(ROOT_INODE, "", FILE_MODE).code(), ENOENT);
  EXPECT_EQ(ns.make(ROOT_INODE, "a/b", FILE_MODE).code(), EINVAL);
  EXPECT_EQ(ns.make(ROOT_INODE, std::string("a\0b", 3), FILE_MODE).code(), EINVAL);
  EXPECT_EQ(ns.make(ROOT_INODE, std::string(256, 'n'), FILE_MODE).code(), ENAMETOOLONG);
  EXPECT_EQ(ns.make(ROOT_INODE, std::string(255, 'n'), FILE_MODE).code(), 0);
}

TEST_F(Names, MakeErrorsComeInTheKernelsOrder) {
  auto readable = dir("readable", 0755);
  file("taken", readable);
  // EEXIST is found by the lookup, before write permission is asked.
  EXPECT_EQ(ns.make(readable, "taken", FILE_MODE, ALICE).code(), EEXIST);
  // A name too long is found by the lookup as well.
  EXPECT_EQ(ns.make(readable, std::string(256, 'n'), FILE_MODE, ALICE).code(), ENAMETOOLONG);
  // Search permission comes before both.
  auto closed = dir("closed", 0700);
  EXPECT_EQ(ns.make(closed, std::string(256, 'n'), FILE_MODE, ALICE).code(), EACCES);
  // Permission comes before the type's own rules.
  EXPECT_EQ(ns.make(readable, "chr", S_IFCHR, ALICE, "", 5).code(), EACCES);
}

TEST_F(Names, MakeOfAnExistingNameTellsItsAttributes) {
  auto f = file("f");
  auto again = ns.make(ROOT_INODE, "f", FILE_MODE);
  EXPECT_EQ(again.code(), EEXIST);
  EXPECT_EQ(again.inode(), f);
}

TEST_F(Names, SetGidDirectoriesHandDownTheirGroup) {
  auto shared = dir("shared", 0777);
  ASSERT_EQ(ns.chown(shared, 0, 50).code(), 0);
  ASSERT_EQ(ns.chmod(shared, 02777).code(), 0);
  auto below = ns.make(shared, "d", S_IFDIR | 0755, BOB);
  EXPECT_EQ(below.attributes().getGid(), 50u);
  EXPECT_EQ(below.attributes().getMode() & 07777, 02755u);
  // A set-gid program for a group that the caller isn't in loses the bit.
  auto program = ns.make(shared, "p", S_IFREG | 02755, BOB);
  EXPECT_EQ(program.attributes().getGid(), 50u);
  EXPECT_EQ(program.attributes().getMode() & 07777, 0755u);
  EXPECT_EQ(ns.make(shared, "q", S_IFREG | 02755, ALICE).attributes().getMode() & 07777, 02755u);
  // mkdir itself sets no set-id bits.
  EXPECT_EQ(ns.make(ROOT_INODE, "plain", S_IFDIR | 06755).attributes().getMode() & 07777, 0755u);
}

TEST_F(Names, LinkAndUnlinkCount) {
  auto f = file("f");
  ns.tick();
  auto linked = ns.link(f, ROOT_INODE, "g");
  EXPECT_EQ(linked.code(), 0);
  EXPECT_EQ(linked.attributes().getLinks(), 2u);
  EXPECT_EQ(linked.attributes().getChanged().getSeconds(), ns.now());
  EXPECT_NE(linked.attributes().getModified().getSeconds(), ns.now());
  auto gone = ns.unlink(ROOT_INODE, "f");
  EXPECT_EQ(gone.attributes().getLinks(), 1u);
  EXPECT_EQ(ns.lookup(ROOT_INODE, "f"), ENOENT);
  EXPECT_EQ(links(f), 1u);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "g").attributes().getLinks(), 0u);
  int code = 0;
  ns.stat(f, &code);
  EXPECT_EQ(code, ESTALE);
}

TEST_F(Names, LinkErrors) {
  auto f = file("f");
  auto d = dir("d");
  auto readable = dir("readable");
  EXPECT_EQ(ns.link(InodeId{999}, ROOT_INODE, "x").code(), ESTALE);
  EXPECT_EQ(ns.link(f, InodeId{999}, "x").code(), ESTALE);
  EXPECT_EQ(ns.link(f, f, "x").code(), ENOTDIR);
  EXPECT_EQ(ns.link(f, ROOT_INODE, "f").code(), EEXIST);
  EXPECT_EQ(ns.link(f, ROOT_INODE, std::string(256, 'x')).code(), ENAMETOOLONG);
  EXPECT_EQ(ns.link(f, readable, "x", ALICE).code(), EACCES);
  EXPECT_EQ(ns.link(d, ROOT_INODE, "x").code(), EPERM);
  EXPECT_EQ(ns.link(d, ROOT_INODE, "f").code(), EEXIST);  // before EPERM
}

TEST_F(Names, LinksAreLimited) {
  auto f = file("f");
  auto d = dir("d");
  for (int i = 1; i < 65000; ++i) {
    ASSERT_EQ(ns.link(f, d, std::to_string(i)).code(), 0);
  }
  EXPECT_EQ(ns.link(f, d, "one more").code(), EMLINK);
  EXPECT_EQ(links(f), 65000u);
}

TEST_F(Names, UnlinkErrors) {
  file("f");
  auto d = dir("d");
  file("inside", d);
  auto readable = dir("readable");
  file("g", readable);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "none").code(), ENOENT);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "d").code(), EISDIR);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "f", true).code(), ENOTDIR);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "d", true).code(), ENOTEMPTY);
  EXPECT_EQ(ns.unlink(readable, "g", false, ALICE).code(), EACCES);
  EXPECT_EQ(ns.unlink(readable, "none", false, ALICE).code(), ENOENT);
  EXPECT_EQ(ns.unlink(ROOT_INODE, ".", true).code(), EINVAL);
  EXPECT_EQ(ns.unlink(ROOT_INODE, "..", true).code(), ENOTEMPTY);
  EXPECT_EQ(ns.unlink(ROOT_INODE, ".").code(), EISDIR);
  EXPECT_EQ(ns.unlink(ROOT_INODE, std::string(256, 'x')).code(), ENAMETOOLONG);
  EXPECT_EQ(ns.unlink(InodeId{999}, "f").code(), ESTALE);
}

TEST_F(Names, StickyDirectoriesProtectOthersFiles) {
  auto tmp = dir("tmp", 01777);
  file("hers", tmp, ALICE);
  EXPECT_EQ(ns.unlink(tmp, "hers", false, BOB).code(), EPERM);
  EXPECT_EQ(ns.rename(tmp, "hers", tmp, "his", 0, BOB).code(), EPERM);
  file("his", tmp, BOB);
  EXPECT_EQ(ns.rename(tmp, "his", tmp, "hers", 0, BOB).code(), EPERM);
  EXPECT_EQ(ns.unlink(tmp, "hers", false, ALICE).code(), 0);
  file("again", tmp, ALICE);
  EXPECT_EQ(ns.unlink(tmp, "again", false, ROOT).code(), 0);
  auto owned = dir("owned", 01777);
  ASSERT_EQ(ns.chown(owned, BOB.uid, BOB.gid).code(), 0);
  file("hers", owned, ALICE);
  EXPECT_EQ(ns.unlink(owned, "hers", false, BOB).code(), 0);  // the directory's owner may
}

TEST_F(Names, RemovedDirectoriesTakeNoMoreNames) {
  auto d = dir("d");
  ns.holders = {{d, {ns.session}}};
  ASSERT_EQ(ns.unlink(ROOT_INODE, "d", true).code(), 0);
  EXPECT_EQ(links(d), 0u);
  EXPECT_EQ(ns.make(d, "x", FILE_MODE).code(), ENOENT);
  auto f = file("f");
  EXPECT_EQ(ns.link(f, d, "x").code(), ENOENT);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", d, "x").code(), ENOENT);
}

TEST_F(Names, RenameMovesAndReplaces) {
  auto a = dir("a");
  auto b = dir("b");
  auto f = file("f", a);
  auto g = file("g", b);
  ns.tick();
  auto moved = ns.rename(a, "f", b, "g");
  EXPECT_EQ(moved.code(), 0);
  EXPECT_EQ(moved.inode(), f);
  EXPECT_EQ(moved.get().getParent().getInode(), raw(a));
  EXPECT_EQ(moved.get().getNewParent().getInode(), raw(b));
  EXPECT_EQ(moved.get().getNewParent().getModified().getSeconds(), ns.now());
  EXPECT_EQ(moved.attributes().getChanged().getSeconds(), ns.now());
  InodeId found{};
  EXPECT_EQ(ns.lookup(b, "g", &found), 0);
  EXPECT_EQ(found, f);
  EXPECT_EQ(ns.lookup(a, "f"), ENOENT);
  int code = 0;
  ns.stat(g, &code);
  EXPECT_EQ(code, ESTALE);
}

TEST_F(Names, RenameOfDirectoriesKeepsLinksAndParents) {
  auto a = dir("a");
  auto b = dir("b");
  auto d = dir("d", 0755, a);
  auto e = dir("e", 0755, b);
  EXPECT_EQ(ns.rename(a, "d", b, "e").code(), 0);  // replaces the empty e
  EXPECT_EQ(links(a), 2u);
  EXPECT_EQ(links(b), 3u);
  EXPECT_EQ(ns.stat(d).getParent(), raw(b));
  EXPECT_FALSE(ns.reader().exists(e));
  EXPECT_EQ(ns.rename(b, "e", b, "new").code(), 0);
  EXPECT_EQ(links(b), 3u);
  dir("other", 0755, b);
  EXPECT_EQ(ns.rename(b, "new", b, "other").code(), 0);
  EXPECT_EQ(links(b), 3u);
}

TEST_F(Names, RenameErrors) {
  auto f = file("f");
  auto a = dir("a");
  dir("b", 0755, a);
  auto full = dir("full");
  file("inside", full);
  auto readable = dir("readable");
  file("g", readable);
  EXPECT_EQ(ns.rename(ROOT_INODE, "none", ROOT_INODE, "x").code(), ENOENT);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "a").code(), EISDIR);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", ROOT_INODE, "f").code(), ENOTDIR);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", ROOT_INODE, "full").code(), ENOTEMPTY);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", f, "x").code(), ENOTDIR);
  EXPECT_EQ(ns.rename(f, "x", ROOT_INODE, "y").code(), ENOTDIR);
  EXPECT_EQ(ns.rename(ROOT_INODE, ".", ROOT_INODE, "x").code(), EBUSY);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "..").code(), EBUSY);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, ".", NOREPLACE).code(), EEXIST);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, std::string(256, 'x')).code(), ENAMETOOLONG);
  EXPECT_EQ(ns.rename(readable, "g", ROOT_INODE, "x", 0, ALICE).code(), EACCES);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "a", NOREPLACE).code(), EEXIST);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "none", EXCHANGE).code(), ENOENT);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "a", NOREPLACE | EXCHANGE).code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "a", WHITEOUT | EXCHANGE).code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "x", 8).code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "x", NOREPLACE).code(), 0);
}

TEST_F(Names, RenameNeverMakesALoop) {
  auto a = dir("a");
  auto b = dir("b", 0755, a);
  auto c = dir("c", 0755, b);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", a, "x").code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", b, "x").code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", c, "x").code(), EINVAL);
  EXPECT_EQ(ns.rename(b, "c", ROOT_INODE, "a").code(), ENOTEMPTY);
  EXPECT_EQ(ns.rename(b, "c", ROOT_INODE, "a", EXCHANGE).code(), EINVAL);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", b, "c", EXCHANGE).code(), EINVAL);
  EXPECT_EQ(ns.rename(b, "c", ROOT_INODE, "c").code(), 0);
  EXPECT_EQ(ns.rename(ROOT_INODE, "a", c, "x").code(), 0);
  EXPECT_EQ(ns.stat(a).getParent(), raw(c));
}

TEST_F(Names, RenameOfADirectoryElsewhereNeedsToWriteIt) {
  auto a = dir("a", 0777);
  auto b = dir("b", 0777);
  auto hers = dir("d", 0755, a, ALICE);
  EXPECT_EQ(ns.rename(a, "d", a, "e", 0, BOB).code(), 0);  // its ".." stays
  EXPECT_EQ(ns.rename(a, "e", b, "d", 0, BOB).code(), EACCES);
  EXPECT_EQ(ns.rename(a, "e", b, "d", 0, ALICE).code(), 0);
  dir("mine", 0755, a, BOB);
  EXPECT_EQ(ns.rename(a, "mine", b, "d", EXCHANGE, BOB).code(), EACCES);
  EXPECT_EQ(ns.stat(hers).getParent(), raw(b));
}

TEST_F(Names, RenameOfTwoNamesOfOneFileDoesNothing) {
  auto f = file("f");
  ns.link(f, ROOT_INODE, "g");
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "g").code(), 0);
  EXPECT_EQ(links(f), 2u);
  EXPECT_EQ(ns.names(ROOT_INODE), (std::vector<std::string>{"f", "g"}));
}

TEST_F(Names, RenameExchangeSwaps) {
  auto a = dir("a");
  auto f = file("f");
  auto d = dir("d", 0755, a);
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", a, "d", EXCHANGE).code(), 0);
  InodeId found{};
  EXPECT_EQ(ns.lookup(ROOT_INODE, "f", &found), 0);
  EXPECT_EQ(found, d);
  EXPECT_EQ(ns.lookup(a, "d", &found), 0);
  EXPECT_EQ(found, f);
  EXPECT_EQ(ns.stat(d).getParent(), raw(ROOT_INODE));
  EXPECT_EQ(links(a), 2u);
  EXPECT_EQ(links(ROOT_INODE), 4u);
}

TEST_F(Names, RenameWhiteoutLeavesADevice) {
  auto f = file("f");
  uint64_t before = ns.reader().counters().inodes;
  EXPECT_EQ(ns.rename(ROOT_INODE, "f", ROOT_INODE, "g", WHITEOUT).code(), 0);
  InodeId found{};
  EXPECT_EQ(ns.lookup(ROOT_INODE, "g", &found), 0);
  EXPECT_EQ(found, f);
  EXPECT_EQ(ns.lookup(ROOT_INODE, "f", &found), 0);
  EXPECT_EQ(ns.stat(found).getMode(), static_cast<uint32_t>(S_IFCHR));
  EXPECT_EQ(ns.stat(found).getDevice(), 0u);
  EXPECT_EQ(ns.reader().counters().inodes, before + 1);
}

TEST_F(Names, LookupErrors) {
  auto f = file("f");
  auto closed = dir("closed", 0700);
  file("x", closed);
  EXPECT_EQ(ns.lookup(closed, "x", nullptr, ALICE), EACCES);
  EXPECT_EQ(ns.lookup(f, "x"), ENOTDIR);
  EXPECT_EQ(ns.lookup(InodeId{999}, "x"), ESTALE);
  EXPECT_EQ(ns.lookup(ROOT_INODE, std::string(256, 'x')), ENAMETOOLONG);
  InodeId found{};
  EXPECT_EQ(ns.lookup(closed, "..", &found), 0);
  EXPECT_EQ(found, ROOT_INODE);
  EXPECT_EQ(ns.lookup(closed, ".", &found), 0);
  EXPECT_EQ(found, closed);
}

TEST_F(Names, ResolveWalksPaths) {
  auto a = dir("a");
  auto f = file("f", a);
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<wire::Attributes>();
  EXPECT_EQ(ns.reader().resolve("/a/./f", out).code(), 0);
  EXPECT_EQ(out.getInode(), raw(f));
  EXPECT_EQ(ns.reader().resolve("a/..//a", out).code(), 0);
  EXPECT_EQ(out.getInode(), raw(a));
  EXPECT_EQ(ns.reader().resolve("/a/g", out).code(), ENOENT);
  EXPECT_EQ(ns.reader().resolve("/a/f/g", out).code(), ENOTDIR);
}

}  // namespace
}  // namespace cairn
