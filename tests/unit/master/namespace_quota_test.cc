// Quotas: what is refused and what isn't, and that bytes used and granted never exceed a limit, whatever happens.
#include <gtest/gtest.h>

#include <random>

#include "master/namespace/quota.h"
#include "tests/unit/master/account_check.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint32_t DIRECTORY_MODE = S_IFDIR | 0755;
constexpr uint32_t SIZE = 8;
constexpr uint32_t WHITEOUT = 4;
constexpr uint64_t MIB = 1 << 20;
constexpr uint64_t DAY = 24 * 3600;
constexpr size_t ALL = 1 << 20;

// A mount, as far as the state knows it.
struct Mount {
  SessionId session{};
  uint64_t sequence = 0;
};

class QuotaWorld {
 public:
  QuotaWorld() { mounts = {open(), open()}; }

  Mount open() { return {ns.openSession("mount", ++nonce_), 0}; }
  TestReply send(Mount& mount, const TestNamespace::Fill& fill) {
    return ns.send(mount.session, 0, ++mount.sequence, fill);
  }
  int end(Mount& mount) {
    return ns.outcome(ns.apply([&](wire::Command::Builder command) { command.setEndSession(raw(mount.session)); }));
  }
  int set(InodeId directory, uint64_t bytes, uint64_t files) {
    return ns.outcome(ns.apply([&](wire::Command::Builder command) {
      auto quota = command.initQuotaChange();
      quota.setInode(raw(directory));
      quota.setBytesMax(bytes);
      quota.setFilesMax(files);
    }));
  }
  // Bytes granted; -1: EDQUOT, else minus the error.
  int64_t reserve(Mount& mount, InodeId root, uint64_t bytes) {
    auto reply = send(mount, [&](wire::Op::Builder op) {
      op.initReserve().setRoot(raw(root));
      op.getReserve().setBytes(bytes);
    });
    return reply.code() == 0 ? static_cast<int64_t>(reply.get().getGranted()) : -reply.code();
  }
  void giveBack(Mount& mount, InodeId root, uint64_t bytes) {
    auto reply = send(mount, [&](wire::Op::Builder op) {
      op.initGiveBack().setRoot(raw(root));
      op.getGiveBack().setBytes(bytes);
    });
    EXPECT_EQ(reply.code(), 0);
  }
  // The outcome; `charged`: what the mount's grant paid.
  int write(Mount& mount, InodeId file, uint64_t size, uint64_t* charged = nullptr) {
    uint64_t object = ns.object(file);
    auto reply = send(mount, [&](wire::Op::Builder op) {
      auto item = op.initWritten(1)[0];
      item.setInode(raw(file));
      item.setObject(object);
      item.setSize(size);
    });
    if (charged != nullptr) {
      *charged = reply.get().getCharged().size() > 0 ? reply.get().getCharged()[0] : 0;
    }
    return reply.code() != 0 ? reply.code() : reply.get().getWritten()[0].getErrno();
  }
  int truncate(Mount& mount, InodeId file, uint64_t size, uint64_t granted = 0) {
    return send(mount, [&](wire::Op::Builder op) {
             auto set = op.initSetAttributes();
             set.setInode(raw(file));
             set.setWhich(SIZE);
             set.setSize(size);
             set.setGranted(granted);
           }).code();
  }
  uint64_t grantOf(const Mount& mount, InodeId root) {
    for (auto& grant : ns.reader().grants()) {
      if (grant.session == mount.session && grant.root == root) {
        return grant.bytes;
      }
    }
    return 0;
  }
  Account of(InodeId directory) { return ns.reader().account(directory).value_or(Account()); }
  InodeId rootOf(InodeId inode) { return InodeId{ns.stat(inode).getQuotaRoot()}; }
  InodeId directory(InodeId parent, const std::string& name) { return ns.make(parent, name, DIRECTORY_MODE).inode(); }
  InodeId file(InodeId parent, const std::string& name) { return ns.make(parent, name, FILE_MODE).inode(); }
  int trash(const std::function<void(wire::TrashChange::Builder)>& fill) {
    return ns.outcome(ns.apply([&](wire::Command::Builder command) { fill(command.initTrashChange()); }));
  }
  void keepTrash() {
    EXPECT_EQ(trash([](auto change) {
                change.initRetention().setInode(raw(ROOT_INODE));
                change.getRetention().setSeconds(DAY);
                change.getRetention().setSet(true);
              }),
              0);
  }
  int restore(uint64_t item) {
    return trash([&](auto change) { change.initRestore().setItem(item); });
  }
  int detach(InodeId parent, const std::string& name) {
    return send(mounts[0], [&](wire::Op::Builder op) {
             op.initDetach().setParent(raw(parent));
             op.getDetach().setName(kj::StringPtr(name.c_str(), name.size()).asBytes());
           }).code();
  }

  TestNamespace ns;
  std::vector<Mount> mounts;

 private:
  uint64_t nonce_ = 100;
};

class Quotas : public testing::Test, public QuotaWorld {
 protected:
  Quotas() : q(directory(ROOT_INODE, "q")), a(mounts[0]), b(mounts[1]) {}
  InodeId q;
  Mount& a;
  Mount& b;
};

TEST_F(Quotas, BytesComeOutOfGrantsFirst) {
  EXPECT_EQ(set(q, 1000, 0), 0);
  InodeId f = file(q, "f");
  EXPECT_EQ(rootOf(f), q);
  EXPECT_EQ(reserve(a, q, 700), 700 + 300 / 16);
  EXPECT_EQ(of(q).granted, 718u);
  uint64_t charged = 0;
  EXPECT_EQ(write(a, f, 600, &charged), 0);
  EXPECT_EQ(charged, 600u);
  EXPECT_EQ(of(q).granted, 118u);
  EXPECT_EQ(of(q).bytes, 600u);
  InodeId g = file(q, "g");
  EXPECT_EQ(write(b, g, 283), EDQUOT);  // one more than is neither used nor granted
  EXPECT_EQ(write(b, g, 282, &charged), 0);
  EXPECT_EQ(charged, 0u);
  EXPECT_EQ(reserve(b, q, 1), -EDQUOT);
  EXPECT_EQ(write(a, f, 718, &charged), 0);
  EXPECT_EQ(charged, 118u);
  EXPECT_EQ(of(q).bytes, 1000u);
  EXPECT_EQ(write(a, f, 719), EDQUOT);
  EXPECT_EQ(ns.unlink(q, "g").code(), 0);
  EXPECT_EQ(write(a, f, 1000), 0);
}

TEST_F(Quotas, AGrantIsGivenBackAndEndsWithItsSession) {
  EXPECT_EQ(set(q, 1000, 0), 0);
  EXPECT_GE(reserve(a, q, 1000), 1000);
  EXPECT_EQ(reserve(b, q, 10), -EDQUOT);
  giveBack(a, q, 400);
  EXPECT_EQ(reserve(b, q, 1000), 400);  // what there is
  EXPECT_EQ(end(a), 0);
  EXPECT_EQ(of(q).granted, 400u);
  EXPECT_EQ(reserve(b, q, 600), 600);
  giveBack(b, q, 5000);
  EXPECT_EQ(of(q).granted, 0u);
  EXPECT_GE(reserve(b, q, 600), 600);
  giveBack(b, InodeId{}, 0);  // all
  EXPECT_EQ(of(q).granted, 0u);
  EXPECT_TRUE(ns.reader().grants().empty());
}

TEST_F(Quotas, AGrantBecomesSmallWhereLittleIsLeft) {
  EXPECT_EQ(set(q, 4096 * MIB, 0), 0);
  EXPECT_EQ(reserve(a, q, 1), int64_t(1 + GRANT_EXTRA_MAX));
  EXPECT_EQ(set(q, GRANT_EXTRA_MAX + 1 + 1600, 0), 0);
  EXPECT_EQ(reserve(a, q, 0), 100);
}

TEST_F(Quotas, AHoleIsChargedLikeWhatItMayBecome) {
  EXPECT_EQ(set(q, MIB, 0), 0);
  InodeId f = file(q, "f");
  EXPECT_EQ(truncate(a, f, MIB + 1), EDQUOT);
  EXPECT_EQ(truncate(a, f, MIB), 0);
  EXPECT_EQ(reserve(b, q, 1), -EDQUOT);
  EXPECT_EQ(write(a, f, MIB), 0);
  EXPECT_EQ(truncate(a, f, 10), 0);
  EXPECT_EQ(of(q).bytes, 10u);
}

TEST_F(Quotas, ATruncationTakesFromAGrantOnlyWhatItMay) {
  EXPECT_EQ(set(q, 1000, 0), 0);
  InodeId f = file(q, "f");
  EXPECT_GE(reserve(a, q, 1000), 1000);
  EXPECT_EQ(truncate(a, f, 100), EDQUOT);  // other files of the mount may need all of it
  EXPECT_EQ(truncate(a, f, 100, 60), EDQUOT);
  EXPECT_EQ(truncate(a, f, 100, 100), 0);
  EXPECT_EQ(grantOf(a, q), 900u);
}

TEST_F(Quotas, FilesAndDirectoriesCountAlike) {
  EXPECT_EQ(set(q, 0, 3), 0);
  InodeId d = directory(q, "d");
  InodeId f = file(d, "f");
  EXPECT_EQ(raw(rootOf(f)), 0u);  // of bytes it has none: no grant is needed
  EXPECT_EQ(ns.make(q, "l", S_IFLNK, ROOT, "d").code(), 0);
  EXPECT_EQ(ns.make(d, "g", FILE_MODE).code(), EDQUOT);
  EXPECT_EQ(ns.make(d, "g", DIRECTORY_MODE).code(), EDQUOT);
  EXPECT_EQ(ns.rename(d, "f", q, "g", WHITEOUT).code(), EDQUOT);
  EXPECT_EQ(ns.link(f, d, "same").code(), 0);  // the same file
  EXPECT_EQ(ns.rename(d, "f", q, "f").code(), 0);
  EXPECT_EQ(ns.unlink(q, "l").code(), 0);
  EXPECT_EQ(ns.make(d, "g", FILE_MODE).code(), 0);
  EXPECT_EQ(ns.make(ROOT_INODE, "elsewhere", FILE_MODE).code(), 0);
}

TEST_F(Quotas, NothingGoesFromOneToAnother) {
  InodeId p = directory(ROOT_INODE, "p");
  EXPECT_EQ(set(q, MIB, 0), 0);
  EXPECT_EQ(set(p, 0, 100), 0);
  InodeId f = file(q, "f");
  InodeId free = file(ROOT_INODE, "free");
  directory(q, "d");
  directory(ROOT_INODE, "tree");
  EXPECT_EQ(ns.link(f, ROOT_INODE, "f").code(), EXDEV);
  EXPECT_EQ(ns.link(free, q, "free").code(), EXDEV);
  EXPECT_EQ(ns.rename(q, "f", p, "f").code(), EXDEV);
  EXPECT_EQ(ns.rename(q, "d", ROOT_INODE, "d").code(), EXDEV);
  EXPECT_EQ(ns.rename(ROOT_INODE, "tree", q, "tree").code(), EXDEV);
  EXPECT_EQ(ns.rename(ROOT_INODE, "free", q, "f", 2).code(), EXDEV);
  EXPECT_EQ(ns.rename(q, "f", q, "g").code(), 0);
  InodeId deep = directory(q, "deep");
  EXPECT_EQ(ns.rename(q, "g", deep, "g").code(), 0);
  EXPECT_EQ(ns.link(f, q, "h").code(), 0);
  EXPECT_EQ(ns.rename(ROOT_INODE, "q", ROOT_INODE, "renamed").code(), 0);  // with its quota
  EXPECT_EQ(rootOf(f), q);
}

TEST_F(Quotas, AllThatAreAboveCount) {
  InodeId inner = directory(q, "inner");
  EXPECT_EQ(set(q, 1000, 10), 0);
  EXPECT_EQ(set(inner, 5000, 2), 0);
  InodeId f = file(inner, "f");
  EXPECT_EQ(rootOf(f), inner);
  EXPECT_EQ(reserve(a, inner, 2000), 1000);
  EXPECT_EQ(of(q).granted, 1000u);
  EXPECT_EQ(reserve(b, q, 1), -EDQUOT);
  EXPECT_EQ(write(a, f, 900), 0);
  EXPECT_EQ(of(q).granted, 100u);
  giveBack(a, inner, 100);
  EXPECT_EQ(reserve(b, q, 1000), 100);
  file(inner, "g");
  EXPECT_EQ(ns.make(inner, "h", FILE_MODE).code(), EDQUOT);
  EXPECT_EQ(ns.make(q, "h", FILE_MODE).code(), 0);
}

TEST_F(Quotas, ALimitBelowWhatIsUsedOnlyStopsGrowth) {
  InodeId f = file(q, "f");
  EXPECT_EQ(write(a, f, 1000), 0);
  EXPECT_EQ(set(q, 100, 1), 0);
  EXPECT_EQ(write(a, f, 1001), EDQUOT);
  EXPECT_EQ(write(a, f, 1000), 0);
  EXPECT_EQ(ns.make(q, "g", FILE_MODE).code(), EDQUOT);
  EXPECT_EQ(truncate(a, f, 500), 0);
  EXPECT_EQ(truncate(a, f, 501), EDQUOT);
  EXPECT_EQ(set(q, 0, 0), 0);
  EXPECT_EQ(raw(rootOf(f)), 0u);
  EXPECT_EQ(write(a, f, 5000), 0);
  EXPECT_FALSE(ns.reader().hasQuotas());
}

TEST_F(Quotas, WhatWasGrantedBeforeTheLimitFellMayBeUsed) {
  EXPECT_EQ(set(q, 1000, 0), 0);
  InodeId f = file(q, "f");
  EXPECT_EQ(reserve(a, q, 1000), 1000);
  EXPECT_EQ(set(q, 100, 0), 0);
  EXPECT_EQ(write(a, f, 1000), 0);
  EXPECT_EQ(write(a, f, 1001), EDQUOT);
}

TEST_F(Quotas, GrantsFollowTheDirectoriesThatHaveQuotas) {
  InodeId inner = directory(q, "inner");
  EXPECT_EQ(set(inner, 5000, 0), 0);
  EXPECT_GE(reserve(a, inner, 1000), 1000);
  uint64_t granted = of(inner).granted;
  EXPECT_EQ(set(q, 9000, 0), 0);  // one more above
  EXPECT_EQ(of(q).granted, granted);
  EXPECT_EQ(set(inner, 0, 5), 0);  // bytes don't count there any more
  EXPECT_EQ(of(q).granted, 0u);
  EXPECT_EQ(reserve(a, inner, 1), -ENOENT);
  EXPECT_TRUE(ns.reader().grants().empty());
  EXPECT_EQ(ns.unlink(q, "inner", true).code(), 0);
  EXPECT_EQ(ns.reader().quotas().size(), 1u);
}

TEST_F(Quotas, AFileWithoutANameIsChargedWhenItGetsOne) {
  EXPECT_EQ(set(q, 1000, 1), 0);
  InodeId f = send(a, [&](wire::Op::Builder op) {
                auto make = op.initMake();
                make.setParent(raw(q));
                make.setMode(FILE_MODE);
                make.setHold(true);
                make.setUnnamed(true);
              }).inode();
  EXPECT_EQ(write(a, f, 2000), 0);
  EXPECT_EQ(of(q).bytes, 0u);
  EXPECT_EQ(ns.link(f, q, "f").code(), EDQUOT);
  EXPECT_EQ(truncate(a, f, 1000), 0);
  EXPECT_EQ(ns.link(f, q, "f").code(), 0);
  EXPECT_EQ(of(q).bytes, 1000u);
}

TEST_F(Quotas, WhatComesBackFromTheTrashMustFit) {
  keepTrash();
  EXPECT_EQ(set(q, 1000, 2), 0);
  InodeId f = file(q, "f");
  EXPECT_EQ(write(a, f, 800), 0);
  EXPECT_EQ(ns.unlink(q, "f").code(), 0);
  EXPECT_EQ(of(q).bytes, 0u);
  uint64_t item = ns.reader().trash(0, ALL).at(0).id;
  InodeId g = file(q, "g");
  EXPECT_EQ(write(a, g, 500), 0);
  EXPECT_EQ(restore(item), EDQUOT);
  EXPECT_EQ(truncate(a, g, 200), 0);
  file(q, "h");
  EXPECT_EQ(restore(item), EDQUOT);
  EXPECT_EQ(ns.unlink(q, "h").code(), 0);
  for (auto& other : ns.reader().trash(0, ALL)) {
    EXPECT_EQ(restore(other.id), other.id == item ? 0 : EDQUOT);
  }
  EXPECT_EQ(of(q).bytes, 1000u);
}

TEST_F(Quotas, ATreeLeavesAndComesBackWithItsOwn) {
  keepTrash();
  EXPECT_EQ(set(q, 1000, 0), 0);
  InodeId d = directory(q, "d");
  InodeId inner = directory(d, "inner");
  EXPECT_EQ(set(inner, 600, 0), 0);
  InodeId f = file(inner, "f");
  EXPECT_EQ(write(a, f, 500), 0);
  EXPECT_EQ(reserve(a, inner, 100), 100);
  EXPECT_EQ(detach(q, "d"), 0);
  EXPECT_EQ(of(q).granted, 0u);
  EXPECT_EQ(of(q).bytes, 0u);
  EXPECT_EQ(of(inner).granted, 100u);
  InodeId g = file(q, "g");
  EXPECT_EQ(write(a, g, 501), 0);
  uint64_t item = ns.reader().trash(0, ALL).at(0).id;
  EXPECT_EQ(restore(item), EDQUOT);
  EXPECT_EQ(truncate(a, g, 500), 0);
  EXPECT_EQ(restore(item), 0);
  EXPECT_EQ(of(q).bytes, 1000u);
  EXPECT_EQ(of(q).granted, 0u);  // there was no room for what was granted meanwhile
  EXPECT_EQ(write(a, f, 501), EDQUOT);
}

// ---- whatever happens ----

class Storm {
 public:
  explicit Storm(uint64_t seed) : random_(seed) {
    world_.keepTrash();
    for (const char* name : {"p", "q", "r"}) {
      directories_.push_back(world_.directory(directories_.back(), name));
    }
  }

  void step() {
    auto before = sums();
    bool settles = change();
    check(before, settles);
  }

  bool detached = false;  // some tree was: what is linked out of it is charged to it still

 private:
  using Sums = std::map<InodeId, std::pair<uint64_t, uint64_t>>;  // bytes used and granted; inodes

  Sums sums() {
    Sums out;
    for (auto& quota : world_.ns.reader().quotas()) {
      out[quota.root] = {quota.account.bytes + quota.account.granted, quota.account.files + quota.account.directories};
    }
    return out;
  }

  // True when limits were set, or a name was removed: a file that had names below several quotas before these were set
  // may be charged to another by that.
  bool change() {
    auto& ns = world_.ns;
    ns.tick();
    InodeId parent = anyDirectory();
    Mount& mount = world_.mounts[random_() % world_.mounts.size()];
    switch (random_() % 14) {
      case 0:
      case 1:
        keep(ns.make(parent, anyName(), FILE_MODE));
        return false;
      case 2:
        keep(ns.make(parent, anyName(), DIRECTORY_MODE));
        return false;
      case 3:
        ns.link(anyFile(), parent, anyName());
        return false;
      case 4:
        ns.unlink(parent, anyName(), random_() % 3 == 0);
        return true;
      case 5:
        ns.rename(parent, anyName(), anyDirectory(), anyName(), random_() % 3 == 0 ? 2 : 0);
        return true;
      case 6:
        world_.set(parent, random_() % 3 == 0 ? 0 : random_() % 4000 + 1, random_() % 3 == 0 ? 0 : random_() % 12 + 1);
        return true;
      case 7:
        if (random_() % 4 == 0) {
          EXPECT_EQ(world_.end(mount), 0);
          mount = world_.open();
        }
        return false;
      case 8:
        world_.truncate(mount, anyFile(), random_() % 2000, random_() % 500);
        return false;
      case 9:
        reserve(mount, parent);
        return false;
      case 10:
        world_.giveBack(mount, parent, random_() % 1000);
        return false;
      case 11:
        restoreSome();
        return false;
      case 12:
        if (random_() % 8 != 0) {
          return false;
        }
        detached = world_.detach(parent, anyName()) == 0 || detached;
        return true;
      default:
        write(mount, anyFile());
        return false;
    }
  }

  void check(const Sums& before, bool settles) {
    auto& ns = world_.ns;
    std::map<InodeId, uint64_t> granted;
    for (auto& grant : ns.reader().grants()) {
      for (auto& quota : ns.reader().quotasAbove(grant.root)) {
        granted[quota.root] += quota.account.bytesMax > 0 ? grant.bytes : 0;
      }
    }
    for (auto& [root, now] : sums()) {
      auto account = world_.of(root);
      EXPECT_EQ(account.granted, granted[root]) << "the grants don't add up: " << raw(root);
      bool known = before.contains(root);
      uint64_t bytes = known ? before.at(root).first : 0;
      uint64_t inodes = known ? before.at(root).second : 0;
      EXPECT_TRUE(settles || account.bytesMax == 0 || now.first <= std::max(account.bytesMax, bytes))
          << "the limit of bytes is passed: " << raw(root);
      EXPECT_TRUE(settles || account.filesMax == 0 || now.second <= std::max(account.filesMax, inodes))
          << "the limit of files is passed: " << raw(root);
    }
  }

  // Within its grant a mount is never refused.
  void write(Mount& mount, InodeId file) {
    int code = 0;
    auto now = world_.ns.stat(file, &code);
    if (code != 0 || !S_ISREG(now.getMode())) {
      return;
    }
    uint64_t size = random_() % 2000;
    uint64_t growth = std::max(size, now.getSize()) - now.getSize();
    InodeId root{now.getQuotaRoot()};
    bool granted = growth <= world_.grantOf(mount, root);
    int written = world_.write(mount, file, size);
    EXPECT_TRUE(written == 0 || (written == EDQUOT && !granted)) << "what was granted is refused: " << written;
  }

  void reserve(Mount& mount, InodeId root) {
    auto account = world_.ns.reader().account(root);
    uint64_t left = world_.ns.reader().bytesLeft(root);
    uint64_t wanted = random_() % 1000 + 1;
    int64_t granted = world_.reserve(mount, root, wanted);
    if (!account || account->bytesMax == 0) {
      EXPECT_EQ(granted, -ENOENT);
    } else {
      EXPECT_GE(granted, left == 0 ? -EDQUOT : static_cast<int64_t>(std::min(left, wanted)));
    }
  }

  void restoreSome() {
    auto items = world_.ns.reader().trash(0, ALL);
    if (!items.empty()) {
      world_.restore(items[random_() % items.size()].id);
    }
  }

  void keep(TestReply reply) {
    if (reply.code() == 0) {
      auto& list = S_ISDIR(reply.attributes().getMode()) ? directories_ : files_;
      list.push_back(reply.inode());
    }
  }
  InodeId anyFile() { return files_.empty() ? ROOT_INODE : files_[random_() % files_.size()]; }
  InodeId anyDirectory() { return directories_[random_() % directories_.size()]; }
  std::string anyName() { return std::string(1, static_cast<char>('a' + random_() % 8)); }

 public:
  QuotaWorld world_;

 private:
  std::mt19937_64 random_;
  std::vector<InodeId> files_;
  std::vector<InodeId> directories_{ROOT_INODE};
};

TEST(QuotaProperty, UsedAndGrantedNeverExceedALimit) {
  constexpr uint64_t SEEDS = 40;
  for (uint64_t seed = 1; seed <= SEEDS; ++seed) {
    SCOPED_TRACE(seed);
    Storm storm(seed);
    for (int i = 0; i < 500; ++i) {
      SCOPED_TRACE(i);
      storm.step();
      if (i % 100 == 99) {
        storm.world_.ns.reopen();
      }
      if (i % 20 == 0 && !storm.detached) {
        checkAccounts(storm.world_.ns);
      }
      if (testing::Test::HasFailure()) {
        return;
      }
    }
  }
}

}  // namespace
}  // namespace cairn
