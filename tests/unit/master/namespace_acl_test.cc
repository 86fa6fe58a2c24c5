// POSIX ACLs: what is one, who may under one, how it and the mode keep in step, and what is inherited.
#include <gtest/gtest.h>

#include "master/namespace/acl.h"
#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint16_t USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32;
constexpr const char* ACCESS = "system.posix_acl_access";
constexpr const char* DEFAULT = "system.posix_acl_default";
const TestCaller CAROL{1002, 1002, {1002}};

struct Item {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = UINT32_MAX;
};

std::string listOf(std::vector<Item> items) {
  std::string out("\2\0\0\0", 4);
  for (const Item& item : items) {
    out.append(reinterpret_cast<const char*>(&item), sizeof(item));
  }
  return out;
}

class AclTest : public testing::Test {
 protected:
  InodeId file(const std::string& name, uint32_t mode = 0640, const TestCaller& caller = ALICE) {
    return ns.make(shared, name, S_IFREG | mode, caller).inode();
  }
  uint32_t mode(InodeId inode) { return ns.stat(inode).getMode() & 07777; }
  std::string get(InodeId inode, const char* name, int* code = nullptr) {
    capnp::MallocMessageBuilder answer;
    auto fill = [&](wire::Query::Builder query) {
      auto get = query.initGetXattr();
      get.setInode(raw(inode));
      get.setName(kj::StringPtr(name).asBytes());
    };
    int result = ns.query(fill, answer, BOB);
    if (code != nullptr) {
      *code = result;
    }
    if (result != 0) {
      return {};
    }
    auto bytes = answer.getRoot<wire::Answer>().asReader().getBytes();
    return std::string(bytes.asChars().begin(), bytes.size());
  }
  // Truncation asks for the right to write.
  bool mayWrite(InodeId inode, const TestCaller& caller) { return ns.truncate(inode, 0, caller).code() == 0; }

  TestNamespace ns;
  InodeId shared = ns.make(ROOT_INODE, "shared", S_IFDIR | 01777).inode();
};

TEST_F(AclTest, WhatIsNoListIsRefused) {
  auto f = file("f");
  auto set = [&](const std::string& value) { return ns.setXattr(f, ACCESS, value, 0, ALICE).code(); };
  std::vector<Item> good{{USER_OBJ, 6}, {USER, 4, 7}, {GROUP_OBJ, 4}, {GROUP, 4, 8}, {MASK, 6}, {OTHER, 0}};
  EXPECT_EQ(set(listOf(good)), 0);
  EXPECT_EQ(set("x"), EINVAL);
  EXPECT_EQ(set(listOf(good).substr(0, 20) + "x"), EINVAL);
  EXPECT_EQ(set(std::string("\3\0\0\0", 4)), EOPNOTSUPP);
  for (size_t i = 0; i < good.size(); ++i) {
    auto without = good;
    without.erase(without.begin() + static_cast<ptrdiff_t>(i));
    bool optional = good[i].tag == USER || good[i].tag == GROUP;
    EXPECT_EQ(set(listOf(without)), optional ? 0 : EINVAL) << i;
    auto twice = good;
    twice.push_back(good[i]);
    EXPECT_EQ(set(listOf(twice)), EINVAL) << i;
    auto odd = good;
    odd[i].permissions = 8;
    EXPECT_EQ(set(listOf(odd)), EINVAL) << i;
  }
  EXPECT_EQ(set(listOf({{USER_OBJ, 6}, {USER, 4}, {GROUP_OBJ, 4}, {MASK, 4}, {OTHER, 4}})), EINVAL) << "no user named";
  std::vector<Item> many{{USER_OBJ, 6}};
  for (uint32_t user = 0; user < ACL_ENTRIES_MAX; ++user) {
    many.push_back({USER, 4, user});
  }
  EXPECT_EQ(set(listOf(many)), ENOSPC);
}

TEST_F(AclTest, NamedUsersAndGroupsMayWhatTheMaskLetsThem) {
  auto f = file("f", 0600);
  ASSERT_EQ(ns.setXattr(f, ACCESS, listOf({{USER_OBJ, 6}, {USER, 6, 1001}, {GROUP_OBJ, 0}, {MASK, 6}, {OTHER, 0}}), 0,
                        ALICE).code(), 0);
  EXPECT_EQ(mode(f), 0660u) << "the mask shows in the mode";
  EXPECT_TRUE(mayWrite(f, BOB));
  EXPECT_FALSE(mayWrite(f, CAROL));
  ASSERT_EQ(ns.chmod(f, 0640, ALICE).code(), 0);
  EXPECT_FALSE(mayWrite(f, BOB)) << "chmod has changed the mask";
  EXPECT_TRUE(mayWrite(f, ALICE));
  ASSERT_EQ(ns.setXattr(f, ACCESS, listOf({{USER_OBJ, 6}, {USER, 4, 1002}, {GROUP_OBJ, 0}, {GROUP, 2, 1001},
                                           {GROUP, 2, 1002}, {MASK, 7}, {OTHER, 6}}), 0, ALICE).code(), 0);
  EXPECT_TRUE(mayWrite(f, BOB));
  EXPECT_FALSE(mayWrite(f, CAROL)) << "her own entry comes before her group's";
  TestCaller dave{1003, 1003, {1003}};
  EXPECT_TRUE(mayWrite(f, dave)) << "named nowhere";
  TestCaller erin{1004, 1000, {1000}};
  EXPECT_FALSE(mayWrite(f, erin)) << "of the owning group, so not one of the others";
}

TEST_F(AclTest, OnlyTheOwnerSetsThem) {
  auto f = file("f");
  auto list = listOf({{USER_OBJ, 6}, {GROUP_OBJ, 4}, {OTHER, 4}});
  EXPECT_EQ(ns.setXattr(f, ACCESS, list, 0, BOB).code(), EPERM);
  EXPECT_EQ(ns.removeXattr(f, ACCESS, BOB).code(), EPERM);
  EXPECT_EQ(ns.setXattr(f, DEFAULT, list, 0, ALICE).code(), EACCES) << "not a directory";
  EXPECT_EQ(ns.setXattr(f, ACCESS, list, 0, ALICE).code(), 0);
  EXPECT_EQ(mode(f), 0644u);
  int code = 0;
  get(f, ACCESS, &code);
  EXPECT_EQ(code, ENODATA) << "the mode says it all";
  EXPECT_EQ(ns.removeXattr(f, ACCESS, ALICE).code(), 0);
  auto link = ns.make(shared, "link", S_IFLNK, ALICE, "x").inode();
  EXPECT_EQ(ns.setXattr(link, ACCESS, list, 0, ALICE).code(), EOPNOTSUPP);
}

TEST_F(AclTest, WhoIsNotOfTheGroupLosesTheSetGroupBit) {
  auto f = file("f", 0750);
  ASSERT_EQ(ns.chown(f, 1000, 77).code(), 0);
  ASSERT_EQ(ns.chmod(f, 02750).code(), 0);
  auto list = listOf({{USER_OBJ, 7}, {USER, 5, 7}, {GROUP_OBJ, 5}, {MASK, 5}, {OTHER, 0}});
  ASSERT_EQ(ns.setXattr(f, ACCESS, list).code(), 0);
  EXPECT_EQ(mode(f), 02750u);
  ASSERT_EQ(ns.setXattr(f, ACCESS, list, 0, ALICE).code(), 0);
  EXPECT_EQ(mode(f), 0750u);
}

TEST_F(AclTest, RemovingAListLeavesTheMode) {
  auto f = file("f", 0600);
  auto list = listOf({{USER_OBJ, 6}, {USER, 6, 1001}, {GROUP_OBJ, 0}, {MASK, 6}, {OTHER, 0}});
  ASSERT_EQ(ns.setXattr(f, ACCESS, list, 0, ALICE).code(), 0);
  EXPECT_EQ(get(f, ACCESS), list);
  ns.reopen();
  EXPECT_EQ(get(f, ACCESS), list);
  ASSERT_EQ(ns.removeXattr(f, ACCESS, ALICE).code(), 0);
  EXPECT_EQ(mode(f), 0660u);
  EXPECT_FALSE(mayWrite(f, BOB));
}

TEST_F(AclTest, ADirectorysDefaultComesInPlaceOfTheUmask) {
  auto makeIn = [&](InodeId parent, const std::string& name, uint32_t mode) {
    auto fill = [&](wire::Op::Builder op) {
      auto make = op.initMake();
      make.setParent(raw(parent));
      make.setName(kj::StringPtr(name.c_str()).asBytes());
      make.setMode(mode);
      make.setUmask(022);
    };
    return ns.execute(fill, ALICE).inode();
  };
  auto directory = makeIn(shared, "d", S_IFDIR | 0777);
  EXPECT_EQ(mode(directory), 0755u);
  auto list = listOf({{USER_OBJ, 7}, {USER, 7, 1001}, {GROUP_OBJ, 5}, {MASK, 7}, {OTHER, 0}});
  ASSERT_EQ(ns.setXattr(directory, DEFAULT, list, 0, ALICE).code(), 0);
  EXPECT_EQ(mode(directory), 0755u);
  auto f = makeIn(directory, "f", S_IFREG | 0666);
  EXPECT_EQ(mode(f), 0660u);
  EXPECT_EQ(get(f, ACCESS), listOf({{USER_OBJ, 6}, {USER, 7, 1001}, {GROUP_OBJ, 5}, {MASK, 6}, {OTHER, 0}}));
  EXPECT_EQ(get(f, DEFAULT), "");
  EXPECT_TRUE(mayWrite(f, BOB));
  auto below = makeIn(directory, "below", S_IFDIR | 0777);
  EXPECT_EQ(mode(below), 0770u);
  EXPECT_EQ(get(below, DEFAULT), list);
  EXPECT_EQ(get(below, ACCESS), list);
  auto link = ns.make(directory, "link", S_IFLNK, ALICE, "x").inode();
  EXPECT_EQ(get(link, ACCESS), "");
  // One that says no more than a mode.
  ASSERT_EQ(ns.setXattr(directory, DEFAULT, listOf({{USER_OBJ, 7}, {GROUP_OBJ, 2}, {OTHER, 1}}), 0, ALICE).code(), 0);
  auto g = makeIn(directory, "g", S_IFREG | 0666);
  EXPECT_EQ(mode(g), 0620u);
  EXPECT_EQ(get(g, ACCESS), "");
}

// ---- files without a name -----------------------------------------------------------------------

class UnnamedTest : public AclTest {
 protected:
  TestReply makeUnnamed(uint32_t mode = S_IFREG | 0600, bool hold = true) {
    return ns.execute(
        [&](wire::Op::Builder op) {
          auto make = op.initMake();
          make.setParent(raw(shared));
          make.setMode(mode);
          make.setUnnamed(true);
          make.setHold(hold);
        },
        ALICE);
  }
  void dropHold(InodeId inode) {
    ns.apply([&](auto command) {
      command.initDropHolds().setSession(raw(ns.session));
      command.getDropHolds().initInodes(1).set(0, raw(inode));
    });
  }
};

TEST_F(UnnamedTest, ItLivesAsLongAsItIsHeld) {
  auto made = makeUnnamed();
  ASSERT_EQ(made.code(), 0);
  InodeId inode = made.inode();
  EXPECT_EQ(made.attributes().getLinks(), 0u);
  EXPECT_TRUE(ns.names(shared).empty());
  ASSERT_EQ(ns.reader().orphans().size(), 1u);
  dropHold(inode);
  EXPECT_FALSE(ns.reader().exists(inode));
  InodeId other = makeUnnamed().inode();
  ns.apply([&](auto command) { command.setEndSession(raw(ns.session)); });
  EXPECT_FALSE(ns.reader().exists(other));
  EXPECT_TRUE(ns.reader().orphans().empty());
}

TEST_F(UnnamedTest, ItMayGetANameOnce) {
  InodeId inode = makeUnnamed().inode();
  ns.reopen();
  ASSERT_EQ(ns.link(inode, shared, "named", ALICE).code(), 0);
  EXPECT_EQ(ns.stat(inode).getLinks(), 1u);
  EXPECT_TRUE(ns.reader().orphans().empty());
  dropHold(inode);
  EXPECT_TRUE(ns.reader().exists(inode)) << "a name is enough";
  ns.holders = {{inode, {ns.session}}};
  ASSERT_EQ(ns.unlink(shared, "named").code(), 0);
  EXPECT_TRUE(ns.reader().exists(inode));
  EXPECT_EQ(ns.link(inode, shared, "again", ALICE).code(), ENOENT) << "who lost its last name gets no other";
}

TEST_F(UnnamedTest, OnlyAnOpenRegularFileNeedsNone) {
  EXPECT_EQ(makeUnnamed(S_IFDIR | 0700).code(), EINVAL);
  EXPECT_EQ(makeUnnamed(S_IFREG | 0600, false).code(), EINVAL);
  ASSERT_EQ(ns.chmod(shared, 0755).code(), 0);
  EXPECT_EQ(makeUnnamed().code(), EACCES);
}

}  // namespace
}  // namespace cairn
