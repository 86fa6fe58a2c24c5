// What is below a directory, kept with every change, against a count from scratch.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/master/account_check.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIRECTORY_MODE = S_IFDIR | 0755;
constexpr uint32_t EXCHANGE = 2;

class Accounts : public testing::Test {
 protected:
  InodeId directory(InodeId parent, const std::string& name) { return ns.make(parent, name, DIRECTORY_MODE).inode(); }
  InodeId file(InodeId parent, const std::string& name, uint64_t size) {
    InodeId inode = ns.make(parent, name, FILE_MODE).inode();
    EXPECT_EQ(ns.written(inode, ns.object(inode), size, 4096).code(), 0);
    return inode;
  }
  Account of(InodeId inode) { return ns.reader().account(inode).value_or(Account()); }

  TestNamespace ns;
};

TEST_F(Accounts, CountAllThatIsBelow) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(a, "b");
  InodeId f = file(b, "f", 1000);
  ns.make(a, "link", S_IFLNK, ROOT, "b/f");
  EXPECT_EQ(of(ROOT_INODE).bytes, 1000u);
  EXPECT_EQ(of(ROOT_INODE).files, 2u);
  EXPECT_EQ(of(ROOT_INODE).directories, 2u);
  EXPECT_EQ(of(b).files, 1u);
  EXPECT_EQ(of(b).allocated, 4096u);
  EXPECT_EQ(ns.truncate(f, 10).code(), 0);
  EXPECT_EQ(of(a).bytes, 10u);
  EXPECT_EQ(ns.unlink(b, "f").code(), 0);
  EXPECT_EQ(of(a).bytes, 0u);
  EXPECT_EQ(of(a).allocated, 0u);
  EXPECT_EQ(of(a).files, 1u);
  EXPECT_EQ(ns.unlink(a, "b", true).code(), 0);
  EXPECT_EQ(of(ROOT_INODE).directories, 1u);
  EXPECT_FALSE(ns.reader().account(b));
  checkAccounts(ns);
}

TEST_F(Accounts, WhatIsOpenWithoutANameIsChargedNowhere) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId f = file(a, "f", 1000);
  ns.holders = {{f, {ns.session}}};
  EXPECT_EQ(ns.unlink(a, "f").code(), 0);
  EXPECT_EQ(of(a).bytes, 0u);
  EXPECT_EQ(ns.written(f, ns.object(f), 5000, 4096).code(), 0);
  EXPECT_EQ(of(a).bytes, 0u);
  checkAccounts(ns);
}

TEST_F(Accounts, AFileIsChargedOnceHoweverManyNamesItHas) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(ROOT_INODE, "b");
  InodeId f = file(a, "f", 1000);
  EXPECT_EQ(ns.link(f, b, "g").code(), 0);
  EXPECT_EQ(ns.link(f, b, "h").code(), 0);
  EXPECT_EQ(of(a).bytes, 1000u);
  EXPECT_EQ(of(b).bytes, 0u);
  EXPECT_EQ(of(ROOT_INODE).files, 1u);
  EXPECT_EQ(ns.unlink(a, "f").code(), 0);  // it moves to where it still has a name
  EXPECT_EQ(of(a).bytes, 0u);
  EXPECT_EQ(of(b).bytes, 1000u);
  EXPECT_EQ(ns.rename(b, "g", a, "g").code(), 0);
  EXPECT_EQ(of(b).bytes, 1000u);
  EXPECT_EQ(ns.rename(b, "h", a, "h").code(), 0);
  EXPECT_EQ(of(a).bytes, 1000u);
  EXPECT_EQ(of(b).bytes, 0u);
  EXPECT_EQ(ns.unlink(a, "g").code(), 0);
  EXPECT_EQ(of(a).files, 1u);
  checkAccounts(ns);
  EXPECT_EQ(ns.unlink(a, "h").code(), 0);
  EXPECT_EQ(of(ROOT_INODE).files, 0u);
  for (const auto& [key, value] : ns.contents()) {
    EXPECT_NE(key.front(), 'B') << "names of a file that is gone";
  }
}

TEST_F(Accounts, ARenameMovesAllThatIsBelow) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(ROOT_INODE, "b");
  InodeId deep = directory(directory(a, "x"), "y");
  file(deep, "f", 1000);
  EXPECT_EQ(ns.rename(a, "x", b, "z").code(), 0);
  EXPECT_EQ(of(a).bytes, 0u);
  EXPECT_EQ(of(a).directories, 0u);
  EXPECT_EQ(of(b).bytes, 1000u);
  EXPECT_EQ(of(b).directories, 2u);
  EXPECT_EQ(of(ROOT_INODE).bytes, 1000u);
  file(a, "small", 7);
  EXPECT_EQ(ns.rename(a, "small", b, "z", EXCHANGE).code(), 0);
  EXPECT_EQ(of(a).bytes, 1000u);
  EXPECT_EQ(of(b).bytes, 7u);
  EXPECT_EQ(ns.reader().pathOf(deep).value(), "/a/small/y");
  checkAccounts(ns);
}

TEST_F(Accounts, AreReadAsAttributesAndCanNotBeSet) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId f = file(a, "f", 1000);
  auto ask = [&](InodeId inode, const char* name, std::string* value) {
    capnp::MallocMessageBuilder answer;
    int code = ns.query(
        [&](wire::Query::Builder query) {
          query.initGetXattr().setInode(raw(inode));
          query.getGetXattr().setName(kj::StringPtr(name).asBytes());
        },
        answer);
    if (code == 0) {
      auto bytes = answer.getRoot<wire::Answer>().getBytes().asChars();
      value->assign(bytes.begin(), bytes.size());
    }
    return code;
  };
  std::string value;
  EXPECT_EQ(ask(a, "user.dfs.rbytes", &value), 0);
  EXPECT_EQ(value, "1000");
  EXPECT_EQ(ask(a, "user.dfs.rfiles", &value), 0);
  EXPECT_EQ(value, "1");
  EXPECT_EQ(ask(ROOT_INODE, "user.dfs.rsubdirs", &value), 0);
  EXPECT_EQ(value, "1");
  EXPECT_EQ(ask(a, "user.dfs.other", &value), ENODATA);
  EXPECT_EQ(ask(f, "user.dfs.rbytes", &value), ENODATA);
  EXPECT_EQ(ns.setXattr(a, "user.dfs.rbytes", "0").code(), EPERM);
  EXPECT_EQ(ns.removeXattr(a, "user.dfs.rbytes").code(), EPERM);
}

// Random changes of a small tree.
class Changes {
 public:
  Changes(uint64_t seed, TestNamespace& ns) : random_(seed), ns_(ns) {}

  void step() {
    ns_.tick();
    InodeId parent = anyDirectory();
    InodeId other = anyDirectory();
    InodeId inode = any();
    std::string name = anyName();
    bool held = random_() % 4 == 0;
    ns_.holders.clear();
    InodeId victim{};
    if (held && ns_.lookup(parent, name, &victim) == 0) {
      ns_.holders = {{victim, {ns_.session}}};
    }
    switch (random_() % 10) {
      case 0:
      case 1:
        keep(ns_.make(parent, name, FILE_MODE));
        break;
      case 2:
        keep(ns_.make(parent, name, DIRECTORY_MODE));
        break;
      case 3:
        keep(ns_.make(parent, name, S_IFLNK, ROOT, "target"));
        break;
      case 4:
        ns_.link(inode, parent, name);
        break;
      case 5:
        ns_.unlink(parent, name, random_() % 2 == 0);
        break;
      case 6:
      case 7:
        ns_.rename(parent, name, other, anyName(), random_() % 3 == 0 ? EXCHANGE : 0);
        break;
      case 8:
        ns_.truncate(inode, random_() % 20000);
        break;
      default:
        write(inode);
    }
  }

 private:
  void write(InodeId inode) {
    int code = 0;
    auto now = ns_.stat(inode, &code);
    if (code == 0 && S_ISREG(now.getMode())) {
      ns_.written(inode, now.getLayout().getObject(), random_() % 100000, int64_t(random_() % 5) * 4096 - 8192);
    }
  }
  void keep(TestReply reply) {
    if (reply.code() == 0) {
      all_.push_back(reply.inode());
      if (S_ISDIR(reply.attributes().getMode())) {
        directories_.push_back(reply.inode());
      }
    }
  }
  InodeId any() { return all_[random_() % all_.size()]; }
  InodeId anyDirectory() { return directories_[random_() % directories_.size()]; }
  std::string anyName() { return std::string(1, static_cast<char>('a' + random_() % 6)); }

  std::mt19937_64 random_;
  TestNamespace& ns_;
  std::vector<InodeId> all_{ROOT_INODE};
  std::vector<InodeId> directories_{ROOT_INODE};
};

constexpr uint64_t SEEDS = 20;

TEST(AccountsProperty, AreWhatACountFromScratchSays) {
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE(seed);
    TestNamespace ns;
    Changes changes(seed, ns);
    for (int i = 0; i < 400; ++i) {
      changes.step();
      if (i % 40 == 0) {
        checkAccounts(ns);
      }
      if (i % 150 == 149) {
        ns.reopen();
      }
    }
    checkAccounts(ns);
    if (HasFailure()) {
      return;
    }
  }
}

// A state that was made before there were accounts: what they are made of is taken away, then all is counted.
TEST(AccountsProperty, AreCountedAnewForAnOlderState) {
  TestNamespace ns;
  Changes changes(7, ns);
  for (int i = 0; i < 600; ++i) {
    changes.step();
  }
  ns.forgetAccounts();
  EXPECT_FALSE(ns.reader().counted());
  auto counted = ns.apply([](wire::Command::Builder command) { command.initQuotaChange(); });
  EXPECT_EQ(ns.outcome(counted), 0);
  EXPECT_TRUE(ns.reader().counted());
  checkAccounts(ns);
  for (int i = 0; i < 200; ++i) {
    changes.step();
  }
  checkAccounts(ns);
}

}  // namespace
}  // namespace cairn
