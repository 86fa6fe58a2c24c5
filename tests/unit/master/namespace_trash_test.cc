// What is deleted, kept for a while, brought back or ended for good.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/master/account_check.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIRECTORY_MODE = S_IFDIR | 0755;
constexpr uint64_t DAY = 24 * 3600;
constexpr size_t ALL = 1 << 20;

class Trash : public testing::Test {
 protected:
  Trash() { EXPECT_EQ(retain(ROOT_INODE, DAY), 0); }

  int change(const std::function<void(wire::TrashChange::Builder)>& fill) {
    return ns.outcome(ns.apply([&](wire::Command::Builder command) { fill(command.initTrashChange()); }));
  }
  int retain(InodeId directory, uint64_t seconds, bool set = true) {
    return change([&](auto trash) {
      auto retention = trash.initRetention();
      retention.setInode(raw(directory));
      retention.setSeconds(seconds);
      retention.setSet(set);
    });
  }
  int restore(uint64_t item, InodeId parent = InodeId{}, const std::string& name = "") {
    return change([&](auto trash) {
      auto restore = trash.initRestore();
      restore.setItem(item);
      restore.setParent(raw(parent));
      restore.setName(kj::StringPtr(name.c_str(), name.size()).asBytes());
    });
  }
  int purge(std::vector<uint64_t> items) {
    return change([&](auto trash) {
      auto list = trash.initPurge(static_cast<unsigned>(items.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, items[i]);
      }
    });
  }
  TestReply detach(InodeId parent, const std::string& name, const TestCaller& caller = ROOT) {
    return ns.execute(
        [&](wire::Op::Builder op) {
          auto detach = op.initDetach();
          detach.setParent(raw(parent));
          detach.setName(kj::StringPtr(name.c_str(), name.size()).asBytes());
        },
        caller);
  }
  // Until nothing loose is left; how many steps that took.
  int takeApart() {
    int steps = 0;
    while (ns.reader().hasLooseTrees()) {
      auto tree = ns.reader().looseTrees(InodeId{}, 1).at(0);
      EXPECT_EQ(change([&](auto trash) { trash.setReclaim(raw(tree.directory)); }), 0);
      ++steps;
    }
    return steps;
  }
  InodeId directory(InodeId parent, const std::string& name) { return ns.make(parent, name, DIRECTORY_MODE).inode(); }
  InodeId file(InodeId parent, const std::string& name, uint64_t size = 1000) {
    InodeId inode = ns.make(parent, name, FILE_MODE).inode();
    EXPECT_EQ(ns.written(inode, ns.object(inode), size, 4096).code(), 0);
    return inode;
  }
  std::vector<TrashItem> items() { return ns.reader().trash(0, ALL); }
  Account of(InodeId inode) { return ns.reader().account(inode).value_or(Account()); }
  // Nothing is left of what is gone.
  void expectNoTrace() {
    EXPECT_EQ(ns.reader().trashItems(), 0u);
    for (const auto& [key, value] : ns.contents()) {
      EXPECT_EQ(std::string("ZQJYBO").find(key.front()), std::string::npos) << key;
    }
  }

  TestNamespace ns;
};

TEST_F(Trash, KeepsAFileAndGivesItBackAsItWas) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId f = file(a, "f");
  EXPECT_EQ(ns.setXattr(f, "user.note", "kept").code(), 0);
  uint64_t object = ns.object(f);
  EXPECT_EQ(ns.unlink(a, "f").code(), 0);
  int code = 0;
  ns.stat(f, &code);
  EXPECT_EQ(code, ESTALE);
  EXPECT_EQ(of(a).bytes, 0u);
  EXPECT_TRUE(ns.reader().reclaims(0, ALL).empty());
  ASSERT_EQ(items().size(), 1u);
  EXPECT_EQ(items()[0].name, "f");
  EXPECT_EQ(items()[0].bytes, 1000u);
  EXPECT_EQ(expiresSeconds(items()[0].id), static_cast<uint64_t>(ns.now()) + DAY);
  EXPECT_EQ(ns.reader().pathOf(items()[0].parent).value(), "/a");
  ns.reopen();
  EXPECT_EQ(restore(items()[0].id), 0);
  InodeId found{};
  EXPECT_EQ(ns.lookup(a, "f", &found), 0);
  EXPECT_EQ(found, f);
  EXPECT_EQ(ns.object(f), object);
  EXPECT_EQ(ns.stat(f).getLinks(), 1u);
  EXPECT_EQ(ns.setXattr(f, "user.note", "again", 1).code(), EEXIST);
  EXPECT_EQ(of(a).bytes, 1000u);
  expectNoTrace();
  checkAccounts(ns);
}

TEST_F(Trash, WhatIsPurgedIsReclaimed) {
  InodeId f = file(ROOT_INODE, "f");
  ns.unlink(ROOT_INODE, "f");
  EXPECT_EQ(purge({items()[0].id}), 0);
  EXPECT_FALSE(ns.reader().exists(f));
  EXPECT_EQ(ns.reader().reclaims(0, ALL).size(), 1u);
  EXPECT_EQ(purge({42}), ENOENT);
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 0u);
  expectNoTrace();
}

TEST_F(Trash, AnOpenFileGoesInWithItsLastClose) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId f = file(a, "f");
  ns.holders = {{f, {ns.session}}};
  ns.unlink(a, "f");
  EXPECT_TRUE(items().empty());
  EXPECT_EQ(ns.written(f, ns.object(f), 5000, 4096).code(), 0);
  ns.tick(100);
  ns.apply([&](wire::Command::Builder command) {
    command.initDropHolds().setSession(raw(ns.session));
    command.getDropHolds().initInodes(1).set(0, raw(f));
  });
  ASSERT_EQ(items().size(), 1u);
  EXPECT_EQ(items()[0].bytes, 5000u);
  EXPECT_EQ(expiresSeconds(items()[0].id), static_cast<uint64_t>(ns.now()) + DAY);
  EXPECT_EQ(restore(items()[0].id), 0);
  EXPECT_EQ(of(a).bytes, 5000u);
  expectNoTrace();
}

TEST_F(Trash, ARenamesVictimGoesInAndComesBackElsewhere) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId old = file(a, "f", 1);
  file(a, "new", 2);
  EXPECT_EQ(ns.rename(a, "new", a, "f").code(), 0);
  ASSERT_EQ(items().size(), 1u);
  EXPECT_EQ(items()[0].inode, old);
  EXPECT_EQ(restore(items()[0].id), EEXIST);
  EXPECT_EQ(restore(items()[0].id, ROOT_INODE, "old"), 0);
  EXPECT_EQ(of(ROOT_INODE).bytes, 3u);
  checkAccounts(ns);
}

TEST_F(Trash, OnlyTheLastNameCounts) {
  InodeId f = file(ROOT_INODE, "f");
  ns.link(f, ROOT_INODE, "g");
  ns.unlink(ROOT_INODE, "f");
  EXPECT_TRUE(items().empty());
  ns.unlink(ROOT_INODE, "g");
  EXPECT_EQ(items().size(), 1u);
}

TEST_F(Trash, IsOffWhereADirectorySaysSo) {
  InodeId scratch = directory(ROOT_INODE, "scratch");
  InodeId below = directory(scratch, "below");
  EXPECT_EQ(retain(scratch, 0), 0);
  file(below, "f");
  ns.unlink(below, "f");
  EXPECT_TRUE(items().empty());
  EXPECT_EQ(retain(below, 60), 0);
  file(below, "f");
  ns.unlink(below, "f");
  EXPECT_EQ(items().size(), 1u);
  EXPECT_EQ(retain(below, 0, false), 0);
  file(below, "g");
  ns.unlink(below, "g");
  EXPECT_EQ(items().size(), 1u);
  EXPECT_EQ(retain(file(ROOT_INODE, "f"), 60), ENOTDIR);
}

TEST_F(Trash, AFileBringsItsDirectoriesBack) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(a, "b");
  InodeId f = file(b, "f");
  ns.unlink(b, "f");
  ns.unlink(a, "b", true);
  ns.unlink(ROOT_INODE, "a", true);
  ASSERT_EQ(items().size(), 3u);
  EXPECT_EQ(items()[0].inode, f);
  EXPECT_EQ(ns.reader().pathOf(b).value(), "/a/b");
  EXPECT_EQ(restore(items()[0].id), 0);
  EXPECT_EQ(ns.names(b), std::vector<std::string>{"f"});
  EXPECT_EQ(ns.names(a), std::vector<std::string>{"b"});
  EXPECT_EQ(ns.stat(a).getLinks(), 3u);
  EXPECT_EQ(ns.stat(ROOT_INODE).getLinks(), 3u);
  expectNoTrace();
  checkAccounts(ns);
}

TEST_F(Trash, ADirectoryWithoutATrashTakesWhatCameOutOfItAlong) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId f = file(a, "f");
  ns.unlink(a, "f");
  EXPECT_EQ(retain(ROOT_INODE, 0), 0);
  ns.unlink(ROOT_INODE, "a", true);
  EXPECT_EQ(takeApart(), 1);
  EXPECT_FALSE(ns.reader().exists(f));
  EXPECT_FALSE(ns.reader().exists(a));
  expectNoTrace();
}

TEST_F(Trash, ATreeIsDetachedAndComesBackWhole) {
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(a, "b");
  InodeId f = file(b, "f");
  file(a, "g");
  EXPECT_EQ(detach(ROOT_INODE, "a", ALICE).code(), EACCES);
  EXPECT_EQ(detach(a, "g").code(), ENOTDIR);
  EXPECT_EQ(detach(ROOT_INODE, "a").code(), 0);
  EXPECT_EQ(ns.lookup(ROOT_INODE, "a"), ENOENT);
  EXPECT_EQ(ns.make(a, "new", FILE_MODE).code(), ESTALE);
  EXPECT_EQ(of(ROOT_INODE).bytes, 0u);
  EXPECT_EQ(of(ROOT_INODE).directories, 0u);
  ASSERT_EQ(items().size(), 1u);
  EXPECT_EQ(items()[0].bytes, 2000u);
  EXPECT_EQ(items()[0].files, 4u);
  EXPECT_EQ(restore(items()[0].id, b, "x"), EINVAL);
  EXPECT_EQ(restore(items()[0].id), 0);
  InodeId found{};
  EXPECT_EQ(ns.lookup(b, "f", &found), 0);
  EXPECT_EQ(found, f);
  EXPECT_EQ(ns.stat(a).getLinks(), 3u);
  EXPECT_EQ(of(ROOT_INODE).bytes, 2000u);
  expectNoTrace();
  checkAccounts(ns);
}

TEST_F(Trash, ATreeThatIsNotKeptIsTakenApartBehind) {
  EXPECT_EQ(retain(ROOT_INODE, 0), 0);
  InodeId keep = directory(ROOT_INODE, "keep");
  InodeId a = directory(ROOT_INODE, "a");
  InodeId b = directory(a, "b");
  InodeId linked = file(b, "linked");
  EXPECT_EQ(ns.link(linked, keep, "linked").code(), 0);
  constexpr int FILES = 1200;
  for (int i = 0; i < FILES; ++i) {
    file(i % 2 == 0 ? a : b, "f" + std::to_string(i));
  }
  EXPECT_EQ(detach(ROOT_INODE, "a").code(), 0);
  EXPECT_EQ(of(ROOT_INODE).directories, 1u);
  EXPECT_GT(takeApart(), 2);
  EXPECT_FALSE(ns.reader().exists(a));
  EXPECT_FALSE(ns.reader().exists(b));
  EXPECT_EQ(ns.stat(linked).getLinks(), 1u);
  EXPECT_EQ(of(keep).bytes, 1000u);
  EXPECT_EQ(ns.reader().reclaims(0, ALL).size(), static_cast<size_t>(FILES));
  EXPECT_EQ(ns.reader().counters().inodes, 3u);
  expectNoTrace();
  checkAccounts(ns);
}

// Random changes with a trash, brought back and purged at random.
class TrashProperty : public Trash {
 protected:
  void step() {
    ns.tick();
    InodeId parent = anyDirectory();
    std::string name = anyName();
    InodeId victim{};
    bool there = ns.lookup(parent, name, &victim) == 0;
    ns.holders.clear();
    if (there && random_() % 5 == 0) {
      ns.holders = {{victim, {ns.session}}};
    }
    switch (random_() % 9) {
      case 0:
      case 1:
        return make(parent, name, FILE_MODE);
      case 2:
        return make(parent, name, DIRECTORY_MODE);
      case 3:
        ns.unlink(parent, name, random_() % 2 == 0);
        return;
      case 4:
        ns.rename(parent, name, anyDirectory(), anyName());
        return;
      case 5:
        detach(parent, name);
        return;
      case 6:
        return withItem([&](uint64_t item) { restore(item); });
      case 7:
        return withItem([&](uint64_t item) {
          purge({item});
          takeApart();
        });
      default:
        if (there) {
          ns.link(victim, anyDirectory(), anyName());
        }
    }
  }

  void check() {
    checkAccounts(ns);
    EXPECT_EQ(ns.reader().trashItems(), items().size());
  }

  void removeAll() {
    for (const auto& name : ns.names(ROOT_INODE)) {
      if (detach(ROOT_INODE, name).code() == ENOTDIR) {
        ns.unlink(ROOT_INODE, name);
      }
    }
    for (auto left = items(); !left.empty(); left = items()) {
      EXPECT_EQ(purge({left[0].id}), 0);
      takeApart();
    }
  }

 private:
  void make(InodeId parent, const std::string& name, uint32_t mode) {
    auto made = ns.make(parent, name, mode);
    if (made.code() == 0 && S_ISDIR(mode)) {
      directories_.push_back(made.inode());
    } else if (made.code() == 0) {
      ns.written(made.inode(), ns.object(made.inode()), random_() % 9000, 4096);
    }
  }
  void withItem(const std::function<void(uint64_t)>& use) {
    auto all = items();
    if (!all.empty()) {
      use(all[random_() % all.size()].id);
    }
  }
  InodeId anyDirectory() { return directories_[random_() % directories_.size()]; }
  std::string anyName() { return std::string(1, static_cast<char>('a' + random_() % 5)); }

  std::mt19937_64 random_{5};
  std::vector<InodeId> directories_{ROOT_INODE};
};

TEST_F(TrashProperty, AddsUpAndLeavesNothing) {
  for (int i = 0; i < 3000 && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    step();
    if (i % 100 == 0) {
      check();
    }
  }
  ns.apply([&](wire::Command::Builder command) { command.setEndSession(raw(ns.session)); });
  ns.session = ns.openSession("another", 78);
  removeAll();
  EXPECT_EQ(ns.reader().counters().inodes, 1u);
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 0u);
  expectNoTrace();
  checkAccounts(ns);
}

}  // namespace
}  // namespace cairn
