// Clients that make, open, rename, unlink and close files while links break and the master dies: whatever is open stays
// readable, whatever is acknowledged is there, and in the end nothing is left over.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/master/seeded_random.h"
#include "master/cleanup.h"
#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

class History {
 public:
  explicit History(uint64_t seed) : random_(seed), cluster_(seed, 1), server_(cluster_, "c1") {
    EXPECT_EQ(server_.start(), 0);
    for (auto* host : {"h1", "h2", "h3"}) {
      mounts_.push_back({std::make_unique<TestClient>(cluster_, host), {}});
      EXPECT_EQ(mounts_.back().client->attach(), 0);
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      Mount& mount = mounts_[random_.below(mounts_.size())];
      if (random_.below(12) == 0) {
        trouble(mount);
      } else {
        join(mount);
        act(mount);
      }
      cluster_.world.runFor(random_.below(300) * MILLISECOND);
      renewAll();
      checkOpenFiles();
    }
    finish();
  }

 private:
  struct Mount {
    std::unique_ptr<TestClient> client;
    std::set<InodeId> open;
    bool attached = true;
  };

  std::string someName() { return "f" + std::to_string(random_.below(6)); }

  void trouble(Mount& mount) {
    if (random_.below(2) == 0) {
      mount.client->hangUp();
      mount.attached = false;
      return;
    }
    if (random_.below(2) == 0) {
      cluster_.restart();
    } else {
      cluster_.powerCut();
      cluster_.start();
    }
    server_.kill();
    EXPECT_EQ(server_.start(), 0);
    for (auto& each : mounts_) {
      each.attached = false;
    }
  }

  // Takes the session up again and says what it holds, as a mount does.
  void join(Mount& mount) {
    if (mount.attached) {
      return;
    }
    ASSERT_EQ(mount.client->attach(), 0);
    mount.attached = true;
    if (!mount.open.empty()) {
      ASSERT_TRUE(mount.client->hold({mount.open.begin(), mount.open.end()}, {}));
    }
  }

  void act(Mount& mount) {
    std::string name = someName();
    auto it = names_.find(name);
    switch (random_.below(7)) {
      case 0:
      case 1:
        make(mount, name);
        break;
      case 2:
        EXPECT_EQ(mount.client->unlink(name), it == names_.end() ? ENOENT : 0);
        names_.erase(name);
        break;
      case 3:
        rename(mount, name, someName());
        break;
      case 4:
        if (it != names_.end()) {
          EXPECT_TRUE(mount.client->hold({it->second}, {}));
          mount.open.insert(it->second);
        }
        break;
      case 5:
        if (!mount.open.empty()) {
          InodeId closed = *mount.open.begin();
          mount.open.erase(closed);
          EXPECT_TRUE(mount.client->hold({}, {closed}));
        }
        break;
      default:
        race(mount, name, someName());
    }
  }

  void make(Mount& mount, const std::string& name) {
    bool hold = random_.below(2) == 0;
    int code = mount.client->make(name, hold);
    EXPECT_EQ(code, names_.contains(name) ? EEXIST : 0);
    if (code == 0) {
      names_[name] = mount.client->inode;
      if (hold) {
        mount.open.insert(mount.client->inode);
      }
      if (random_.below(4) == 0) {
        EXPECT_EQ(mount.client->repeat(), 0) << "the same request again";
        EXPECT_EQ(mount.client->inode, names_[name]);
      }
    }
  }

  void rename(Mount& mount, const std::string& from, const std::string& to) {
    bool known = names_.contains(from);
    EXPECT_EQ(mount.client->rename(from, to), known ? 0 : ENOENT);
    if (known && from != to) {
      names_[to] = names_[from];
      names_.erase(from);
    }
  }

  // A rename onto a name and an unlink of it, both under way at once; and another mount closes a file meanwhile.
  void race(Mount& mount, const std::string& from, const std::string& to) {
    if (!names_.contains(from) || from == to) {
      return;
    }
    auto renamed = mount.client->start([=](wire::Op::Builder op) {
      op.initCaller();
      auto rename = op.initRename();
      rename.setParent(raw(ROOT_INODE));
      rename.setName(kj::StringPtr(from.c_str()).asBytes());
      rename.setNewParent(raw(ROOT_INODE));
      rename.setNewName(kj::StringPtr(to.c_str()).asBytes());
    });
    auto unlinked = mount.client->start([=](wire::Op::Builder op) {
      op.initCaller();
      auto unlink = op.initUnlink();
      unlink.setParent(raw(ROOT_INODE));
      unlink.setName(kj::StringPtr(to.c_str()).asBytes());
    });
    for (auto& other : mounts_) {
      if (&other != &mount && other.attached && !other.open.empty()) {
        InodeId closed = *other.open.rbegin();
        other.open.erase(closed);
        EXPECT_TRUE(other.client->hold({}, {closed}));
      }
    }
    EXPECT_EQ(cluster_.world.await(kj::mv(renamed), LIMIT), 0);
    EXPECT_EQ(cluster_.world.await(kj::mv(unlinked), LIMIT), 0);
    names_.erase(from);
    names_.erase(to);
  }

  void renewAll() {
    for (auto& mount : mounts_) {
      Nanos alone = cluster_.world.clock().monotonic() - mount.client->renewedAt;
      if (!mount.attached && alone > 3 * SECOND) {
        join(mount);
      } else if (mount.attached) {
        EXPECT_TRUE(mount.client->renew());
      }
    }
  }

  // Asked by whoever is attached: nobody's open file may be gone, and names and links agree.
  void checkOpenFiles() {
    for (auto& asking : mounts_) {
      if (!asking.attached) {
        continue;
      }
      for (auto& mount : mounts_) {
        for (InodeId inode : mount.open) {
          int links = 0;
          for (auto& [name, named] : names_) {
            links += named == inode;
          }
          ASSERT_EQ(asking.client->exists(inode), links) << "inode " << raw(inode) << " of " << mount.client->host;
        }
      }
      for (auto& [name, inode] : names_) {
        ASSERT_EQ(asking.client->exists(inode), 1) << name;
      }
      return;
    }
  }

  void finish() {
    for (auto& mount : mounts_) {
      join(mount);
      std::vector<InodeId> all(mount.open.begin(), mount.open.end());
      mount.open.clear();
      EXPECT_TRUE(mount.client->hold({}, all));
    }
    cluster_.world.runFor(Cleanup::RECLAIM_DELAY + 3 * SECOND);
    auto& reader = cluster_.member().replica().reader();
    EXPECT_EQ(reader.orphans().size(), 0);
    EXPECT_EQ(reader.counters().inodes, names_.size() + 1);
    EXPECT_EQ(reader.reclaims(0, 1000).size(), 0);
  }

  SeededRandom random_;
  MasterWorld cluster_;
  TestServer server_;
  std::vector<Mount> mounts_;
  std::map<std::string, InodeId> names_;
};

TEST(ServiceHistory, WhatIsOpenStaysAndNothingIsLeftOver) {
  for (uint64_t seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History(seed).run(80);
  }
}

}  // namespace
}  // namespace cairn
