// setAttributes, xattrs and written: who may, what follows, each error by name.
#include <gtest/gtest.h>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t SIZE = 8;
constexpr uint32_t ACCESSED = 16;
constexpr uint32_t MODIFIED = 32;
constexpr uint32_t ACCESSED_NOW = 64;
constexpr uint32_t MODIFIED_NOW = 128;
constexpr uint32_t ONLY_GROW = 256;

class AttributesTest : public testing::Test {
 protected:
  AttributesTest() {
    shared = ns.make(ROOT_INODE, "shared", S_IFDIR | 0777).inode();
    hers = ns.make(shared, "hers", S_IFREG | 0640, ALICE).inode();
  }
  uint32_t permissions(InodeId inode) { return ns.stat(inode).getMode() & 07777; }
  TestReply times(uint32_t which, int64_t seconds, uint32_t nanos, const TestCaller& caller) {
    return ns.set(
        hers, which,
        [&](auto set) {
          set.initAccessed().setSeconds(seconds);
          set.getAccessed().setNanos(nanos);
          set.initModified().setSeconds(seconds);
          set.getModified().setNanos(nanos);
        },
        caller);
  }

  TestNamespace ns;
  InodeId shared;
  InodeId hers;
};

TEST_F(AttributesTest, ChmodIsForTheOwner) {
  EXPECT_EQ(ns.chmod(hers, 0600, BOB).code(), EPERM);
  EXPECT_EQ(ns.chmod(hers, 0600, ALICE).code(), 0);
  EXPECT_EQ(permissions(hers), 0600u);
  EXPECT_EQ(ns.chmod(hers, 04755, ROOT).code(), 0);
  EXPECT_EQ(permissions(hers), 04755u);
  EXPECT_EQ(ns.chmod(InodeId{999}, 0600).code(), ESTALE);
  auto link = ns.make(shared, "link", S_IFLNK, ROOT, "x").inode();
  EXPECT_EQ(ns.chmod(link, 0600).code(), EOPNOTSUPP);
}

// What mounts tell of reading.
TEST_F(AttributesTest, ReadingMovesTheAccessTimeAlone) {
  auto tell = [&](InodeId inode, int64_t seconds, uint32_t nanos = 0) {
    auto reply = ns.execute([&](wire::Op::Builder op) {
      auto item = op.initWritten(1)[0];
      item.setInode(raw(inode));
      item.initAccessed().setSeconds(seconds);
      item.getAccessed().setNanos(nanos);
    });
    return static_cast<int>(reply.get().getWritten()[0].getErrno());
  };
  auto link = ns.make(shared, "link", S_IFLNK, ROOT, "x").inode();
  for (InodeId inode : {shared, hers, link}) {
    const auto before = ns.stat(inode);
    const int64_t modified = before.getModified().getSeconds();
    const int64_t changed = before.getChanged().getSeconds();
    const int64_t later = before.getAccessed().getSeconds() + 1000;
    EXPECT_EQ(tell(inode, later), 0);
    EXPECT_EQ(ns.stat(inode).getAccessed().getSeconds(), later);
    EXPECT_EQ(ns.stat(inode).getModified().getSeconds(), modified);
    EXPECT_EQ(ns.stat(inode).getChanged().getSeconds(), changed);
    EXPECT_EQ(tell(inode, later - 1), 0);  // by another mount, earlier
    EXPECT_EQ(ns.stat(inode).getAccessed().getSeconds(), later);
  }
  EXPECT_EQ(tell(hers, 1, 1'000'000'000), EINVAL);
  EXPECT_EQ(tell(InodeId{999}, 1), ESTALE);
}

TEST_F(AttributesTest, AFileHasSoManyNamesAndNoMore) {
  constexpr unsigned LINKS_MAX = 65000;
  for (unsigned links = 1; links < LINKS_MAX; ++links) {
    ASSERT_EQ(ns.link(hers, shared, "l" + std::to_string(links)).code(), 0);
  }
  EXPECT_EQ(ns.link(hers, shared, "more").code(), EMLINK);
  EXPECT_EQ(ns.stat(hers).getLinks(), LINKS_MAX);
  EXPECT_EQ(ns.unlink(shared, "l7").code(), 0);
  EXPECT_EQ(ns.link(hers, shared, "more").code(), 0);
}

TEST_F(AttributesTest, ChmodOutsideTheGroupDropsSetGid) {
  ASSERT_EQ(ns.chown(hers, ALICE.uid, 4242).code(), 0);
  EXPECT_EQ(ns.chmod(hers, 02755, ALICE).code(), 0);
  EXPECT_EQ(permissions(hers), 0755u);
  EXPECT_EQ(ns.chmod(hers, 02755, ROOT).code(), 0);
  EXPECT_EQ(permissions(hers), 02755u);
}

TEST_F(AttributesTest, ChownRules) {
  EXPECT_EQ(ns.chown(hers, BOB.uid, ALICE.gid, ALICE).code(), EPERM);
  EXPECT_EQ(ns.chown(hers, ALICE.uid, BOB.gid, ALICE).code(), EPERM);
  EXPECT_EQ(ns.chown(hers, ALICE.uid, 50, BOB).code(), EPERM);
  EXPECT_EQ(ns.chown(hers, ALICE.uid, 50, ALICE).code(), 0);  // one of her groups
  EXPECT_EQ(ns.stat(hers).getGid(), 50u);
  EXPECT_EQ(ns.chown(hers, ALICE.uid, 50, ALICE).code(), 0);
  EXPECT_EQ(ns.chown(hers, BOB.uid, BOB.gid, ROOT).code(), 0);
  EXPECT_EQ(ns.stat(hers).getUid(), BOB.uid);
}

TEST_F(AttributesTest, ChownDropsSetIdBits) {
  ASSERT_EQ(ns.chmod(hers, 06755).code(), 0);
  EXPECT_EQ(ns.chown(hers, ALICE.uid, 50, ALICE).code(), 0);
  EXPECT_EQ(permissions(hers), 0755u);
  ASSERT_EQ(ns.chmod(hers, 06755).code(), 0);
  ASSERT_EQ(ns.setXattr(hers, "security.capability", "caps").code(), 0);
  EXPECT_EQ(ns.chown(hers, 0, 0, ROOT).code(), 0);  // even by root
  EXPECT_EQ(permissions(hers), 0755u);
  EXPECT_EQ(ns.removeXattr(hers, "security.capability").code(), ENODATA);
  // A set-gid bit without group execution means mandatory locks: it stays for those in the group.
  ASSERT_EQ(ns.chmod(hers, 02644).code(), 0);
  EXPECT_EQ(ns.chown(hers, 0, 0, ROOT).code(), 0);
  EXPECT_EQ(permissions(hers), 02644u);
  // Directories keep theirs.
  ASSERT_EQ(ns.chmod(shared, 02777).code(), 0);
  EXPECT_EQ(ns.chown(shared, 5, 5).code(), 0);
  EXPECT_EQ(permissions(shared), 02777u);
}

TEST_F(AttributesTest, TimesAreForTheOwner) {
  EXPECT_EQ(times(ACCESSED | MODIFIED, 5, 6, BOB).code(), EPERM);
  EXPECT_EQ(times(ACCESSED_NOW | MODIFIED_NOW, 0, 0, BOB).code(), EACCES);
  ASSERT_EQ(ns.chmod(hers, 0666).code(), 0);
  EXPECT_EQ(times(ACCESSED_NOW | MODIFIED_NOW, 0, 0, BOB).code(), 0);  // who may write may touch
  EXPECT_EQ(times(MODIFIED_NOW, 0, 0, BOB).code(), EPERM);             // but not only one of the two
  EXPECT_EQ(times(ACCESSED | MODIFIED, 5, 6, BOB).code(), EPERM);
  EXPECT_EQ(times(ACCESSED | MODIFIED, 5, 1'000'000'000, ALICE).code(), EINVAL);
}

TEST_F(AttributesTest, TimesHaveTheirWholeRange) {
  for (int64_t seconds : {int64_t{-86400}, int64_t{0}, int64_t{4'000'000'000}, int64_t{1} << 40}) {
    ns.tick();
    auto set = times(ACCESSED | MODIFIED, seconds, 999'999'999, ALICE);
    EXPECT_EQ(set.code(), 0);
    auto got = ns.stat(hers);
    EXPECT_EQ(got.getModified().getSeconds(), seconds);
    EXPECT_EQ(got.getModified().getNanos(), 999'999'999u);
    EXPECT_EQ(got.getAccessed().getSeconds(), seconds);
    EXPECT_EQ(got.getChanged().getSeconds(), ns.now());
  }
  EXPECT_EQ(times(ACCESSED_NOW, 0, 0, ALICE).code(), 0);
  EXPECT_EQ(ns.stat(hers).getAccessed().getSeconds(), ns.now());
  EXPECT_EQ(ns.stat(hers).getModified().getSeconds(), int64_t{1} << 40);
}

TEST_F(AttributesTest, TruncateErrors) {
  EXPECT_EQ(ns.truncate(shared, 0).code(), EISDIR);
  auto fifo = ns.make(shared, "fifo", S_IFIFO | 0666).inode();
  EXPECT_EQ(ns.truncate(fifo, 0).code(), EINVAL);
  EXPECT_EQ(ns.truncate(hers, 0, BOB).code(), EACCES);
  EXPECT_EQ(ns.truncate(hers, uint64_t{1} << 60).code(), EFBIG);
  EXPECT_EQ(ns.truncate(hers, 100, ALICE).code(), 0);
  ASSERT_EQ(ns.chmod(hers, 0400).code(), 0);
  EXPECT_EQ(ns.truncate(hers, 50, ALICE).code(), EACCES);  // the owner without the right to write
  auto held = ns.set(
      hers, SIZE,
      [](auto set) {
        set.setSize(60);
        set.setHeld(true);
      },
      BOB);
  EXPECT_EQ(held.code(), 0);  // an open descriptor carries the right
}

TEST_F(AttributesTest, TruncateChangesTimesOnlyWithTheSize) {
  ns.tick();
  ASSERT_EQ(ns.truncate(hers, 100).code(), 0);
  EXPECT_EQ(ns.stat(hers).getModified().getSeconds(), ns.now());
  int64_t then = ns.now();
  ns.tick();
  ASSERT_EQ(ns.truncate(hers, 100).code(), 0);
  EXPECT_EQ(ns.stat(hers).getModified().getSeconds(), then);
}

TEST_F(AttributesTest, TruncateByOthersDropsSetIdBits) {
  ASSERT_EQ(ns.chmod(hers, 06777).code(), 0);
  ASSERT_EQ(ns.truncate(hers, 10, ROOT).code(), 0);
  EXPECT_EQ(permissions(hers), 06777u);
  ASSERT_EQ(ns.truncate(hers, 20, BOB).code(), 0);
  EXPECT_EQ(permissions(hers), 0777u);
}

TEST_F(AttributesTest, FallocateOnlyGrows) {
  ASSERT_EQ(ns.truncate(hers, 100).code(), 0);
  auto grow = [&](uint64_t size) {
    return ns.set(hers, SIZE | ONLY_GROW, [&](auto set) { set.setSize(size); }).code();
  };
  EXPECT_EQ(grow(50), 0);
  EXPECT_EQ(ns.stat(hers).getSize(), 100u);
  EXPECT_EQ(grow(150), 0);
  EXPECT_EQ(ns.stat(hers).getSize(), 150u);
}

TEST_F(AttributesTest, UnknownBitsAreRefused) {
  EXPECT_EQ(ns.set(hers, 1 << 20, [](auto) {}).code(), EINVAL);
  EXPECT_EQ(ns.set(hers, 0, [](auto) {}).code(), 0);
}

TEST_F(AttributesTest, WrittenGrowsAndCounts) {
  ns.tick();
  uint64_t object = ns.object(hers);
  EXPECT_EQ(ns.written(hers, object, 5000, 8192).code(), 0);
  EXPECT_EQ(ns.stat(hers).getSize(), 5000u);
  EXPECT_EQ(ns.stat(hers).getAllocatedBytes(), 8192u);
  EXPECT_EQ(ns.stat(hers).getModified().getSeconds(), ns.now());
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 8192u);
  EXPECT_EQ(ns.written(hers, object, 100, -4096).code(), 0);
  EXPECT_EQ(ns.stat(hers).getSize(), 5000u);
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 4096u);
  EXPECT_EQ(ns.written(hers, object, 0, -100000).code(), 0);  // never below nothing
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 0u);
}

TEST_F(AttributesTest, WrittenTellsOfEachFile) {
  uint64_t object = ns.object(hers);
  auto reply = ns.execute([&](wire::Op::Builder op) {
    auto items = op.initWritten(3);
    items[0].setInode(999);
    items[1].setInode(raw(hers));
    items[1].setObject(object + 1000);
    items[2].setInode(raw(hers));
    items[2].setObject(object);
    items[2].setSize(7);
  });
  EXPECT_EQ(reply.code(), 0);
  ASSERT_EQ(reply.get().getWritten().size(), 3u);
  EXPECT_EQ(reply.get().getWritten()[0].getErrno(), ESTALE);
  EXPECT_EQ(reply.get().getWritten()[1].getErrno(), ESTALE);
  EXPECT_EQ(reply.get().getWritten()[2].getErrno(), 0);
  EXPECT_EQ(ns.stat(hers).getSize(), 7u);
  auto many = ns.execute([&](wire::Op::Builder op) { op.initWritten(5000); });
  EXPECT_EQ(many.code(), E2BIG);
}

TEST_F(AttributesTest, WrittenClearsSetIdBitsWhenAsked) {
  ASSERT_EQ(ns.chmod(hers, 04755).code(), 0);
  EXPECT_EQ(ns.written(hers, ns.object(hers), 5, 0, true).code(), 0);
  EXPECT_EQ(permissions(hers), 0755u);
}

TEST_F(AttributesTest, XattrsSetGetListRemove) {
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", 0, ALICE).code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "user.b", "", 0, ALICE).code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "trusted.c", "3").code(), 0);
  auto list = [&](const TestCaller& caller) {
    capnp::MallocMessageBuilder answer;
    EXPECT_EQ(ns.query([&](auto query) { query.setListXattr(raw(hers)); }, answer, caller), 0);
    auto bytes = answer.getRoot<wire::Answer>().getBytes().asChars();
    return std::string(bytes.begin(), bytes.size());
  };
  EXPECT_EQ(list(ROOT), std::string("trusted.c\0user.a\0user.b\0", 24));
  EXPECT_EQ(list(ALICE), std::string("user.a\0user.b\0", 14));
  EXPECT_EQ(ns.removeXattr(hers, "user.a", ALICE).code(), 0);
  EXPECT_EQ(ns.removeXattr(hers, "user.a", ALICE).code(), ENODATA);
  EXPECT_EQ(list(ALICE), std::string("user.b\0", 7));
}

TEST_F(AttributesTest, XattrErrors) {
  constexpr uint32_t CREATE = 1;
  constexpr uint32_t REPLACE = 2;
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", REPLACE).code(), ENODATA);
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", CREATE).code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", CREATE).code(), EEXIST);
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", REPLACE).code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", 8).code(), EINVAL);
  EXPECT_EQ(ns.setXattr(hers, "", "1").code(), ERANGE);
  EXPECT_EQ(ns.setXattr(hers, "user." + std::string(251, 'x'), "1").code(), ERANGE);
  EXPECT_EQ(ns.setXattr(hers, "user." + std::string(250, 'x'), "1").code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "user.", "1").code(), EINVAL);
  EXPECT_EQ(ns.setXattr(hers, "other.a", "1").code(), EOPNOTSUPP);
  EXPECT_EQ(ns.setXattr(hers, "system.posix_acl_access", "1").code(), EINVAL);
  EXPECT_EQ(ns.setXattr(hers, "user.big", std::string(65536, 'x')).code(), 0);
  EXPECT_EQ(ns.setXattr(hers, "user.big", std::string(65537, 'x')).code(), E2BIG);
  EXPECT_EQ(ns.setXattr(hers, "user.a", "1", 0, BOB).code(), EACCES);
  EXPECT_EQ(ns.setXattr(hers, "trusted.a", "1", 0, ALICE).code(), EPERM);
  EXPECT_EQ(ns.setXattr(hers, "security.a", "1", 0, ALICE).code(), EPERM);
  auto link = ns.make(shared, "link", S_IFLNK, ROOT, "x").inode();
  EXPECT_EQ(ns.setXattr(link, "user.a", "1").code(), EPERM);
  EXPECT_EQ(ns.setXattr(link, "trusted.a", "1").code(), 0);
  ASSERT_EQ(ns.chmod(shared, 01777).code(), 0);
  EXPECT_EQ(ns.setXattr(shared, "user.a", "1", 0, ALICE).code(), EPERM);  // sticky, not hers
}

TEST_F(AttributesTest, XattrReading) {
  ASSERT_EQ(ns.setXattr(hers, "user.a", "value").code(), 0);
  ASSERT_EQ(ns.setXattr(hers, "trusted.a", "t").code(), 0);
  ASSERT_EQ(ns.setXattr(hers, "security.a", "s").code(), 0);
  auto get = [&](const char* name, const TestCaller& caller) {
    capnp::MallocMessageBuilder answer;
    return ns.query(
        [&](auto query) {
          query.initGetXattr().setInode(raw(hers));
          query.getGetXattr().setName(kj::StringPtr(name).asBytes());
        },
        answer, caller);
  };
  EXPECT_EQ(get("user.a", ALICE), 0);
  EXPECT_EQ(get("user.a", BOB), EACCES);
  EXPECT_EQ(get("trusted.a", ALICE), ENODATA);
  EXPECT_EQ(get("trusted.a", ROOT), 0);
  EXPECT_EQ(get("security.a", BOB), 0);
  EXPECT_EQ(get("user.none", ALICE), ENODATA);
  EXPECT_EQ(get("nonsense", ALICE), EOPNOTSUPP);
}

TEST_F(AttributesTest, XattrNamesAreLimitedInAll) {
  std::string filler(240, 'x');
  int code = 0;
  int count = 0;
  while (code == 0) {
    code = ns.setXattr(hers, "user." + filler + std::to_string(1000 + count++), "v").code();
  }
  EXPECT_EQ(code, ENOSPC);
  EXPECT_GT(count, 250);
}

}  // namespace
}  // namespace cairn
