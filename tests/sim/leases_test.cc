// Leases of several mounts on the same names and attributes: nothing is asked twice, nothing stale is believed, and a
// mount that is away keeps others waiting for its lease time at most, where it may believe something.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/sim/cluster/sim_cluster.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr Nanos LEASE = 5 * SECOND;
constexpr Nanos WITHOUT_WAITING = 200 * MILLISECOND;

struct Stage {
  explicit Stage(unsigned masters = 1, uint64_t seed = 1) : world(seed), cluster(world, options(masters)) {
    cluster.start();
    a = &cluster.mount("a");
    b = &cluster.mount("b");
  }
  static SimClusterOptions options(unsigned masters) {
    SimClusterOptions out;
    out.masters = masters;
    return out;
  }
  InodeId makeDirectory(Client& by, const std::string& name, InodeId parent = ROOT_INODE) {
    return cluster.wait(by.makeDirectory(parent, name, 0755, superuser())).value().inode;
  }
  InodeId make(Client& by, InodeId parent, const std::string& name) {
    return cluster.wait(by.makeNode(parent, name, S_IFREG | 0644, 0, superuser())).value().inode;
  }
  // 0: absent.
  InodeId look(Client& by, InodeId parent, const std::string& name) {
    auto found = cluster.wait(by.lookup(parent, name, superuser()));
    KJ_REQUIRE(found.ok() || found.code() == ENOENT, found.code());
    return found.ok() ? found.value().inode : InodeId{};
  }
  // Calls to the master that `work` makes.
  template <typename Work>
  uint64_t calls(Client& by, Work&& work) {
    uint64_t before = by.stats().masterCalls;
    work();
    return by.stats().masterCalls - before;
  }
  template <typename Work>
  Nanos time(Work&& work) {
    Nanos begun = world.clock().monotonic();
    work();
    return world.clock().monotonic() - begun;
  }

  World world;
  SimCluster cluster;
  Client* a;
  Client* b;
};

TEST(Leases, WhatIsKnownIsNotAskedAgain) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  InodeId file = stage.make(*stage.a, directory, "f");
  auto lookAround = [&] {
    EXPECT_EQ(stage.look(*stage.a, directory, "f"), file);
    EXPECT_EQ(raw(stage.look(*stage.a, directory, "absent")), 0u);
    EXPECT_TRUE(stage.cluster.wait(stage.a->attributes(file)).ok());
    EXPECT_TRUE(stage.cluster.wait(stage.a->attributes(directory)).ok());
  };
  EXPECT_EQ(stage.calls(*stage.a, lookAround), 0u) << "it made the directory, so it knows all in it";

  auto elsewhere = [&] {
    EXPECT_EQ(stage.look(*stage.b, directory, "f"), file);
    EXPECT_EQ(raw(stage.look(*stage.b, directory, "absent")), 0u);
  };
  EXPECT_EQ(stage.calls(*stage.b, elsewhere), 2u);
  EXPECT_EQ(stage.calls(*stage.b, elsewhere), 0u);
  stage.world.runFor(3 * LEASE);
  EXPECT_EQ(stage.calls(*stage.b, elsewhere), 0u) << "the lease is renewed with the session";
}

TEST(Leases, AnothersChangeIsSeenAtOnce) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  InodeId other = stage.makeDirectory(*stage.a, "e");
  InodeId file = stage.make(*stage.a, directory, "f");
  auto everything = [&] {
    stage.look(*stage.b, directory, "f");
    stage.look(*stage.b, directory, "g");
    stage.look(*stage.b, other, "h");
    EXPECT_TRUE(stage.cluster.wait(stage.b->attributes(file)).ok());
    EXPECT_TRUE(stage.cluster.wait(stage.b->attributes(directory)).ok());
  };
  everything();
  InodeId made = stage.make(*stage.a, directory, "g");
  EXPECT_EQ(stage.look(*stage.b, directory, "g"), made);

  everything();
  AttributeChange change;
  change.which = SET_MODE;
  change.mode = 0600;
  EXPECT_TRUE(stage.cluster.wait(stage.a->setAttributes(file, change, superuser())).ok());
  EXPECT_EQ(stage.cluster.wait(stage.b->attributes(file)).value().mode & 07777, 0600u);
  EXPECT_EQ(stage.cluster.wait(stage.b->lookup(directory, "f", superuser())).value().mode & 07777, 0600u);

  everything();
  EXPECT_TRUE(stage.cluster.wait(stage.a->rename(directory, "f", other, "h", 0, superuser())).ok());
  EXPECT_EQ(raw(stage.look(*stage.b, directory, "f")), 0u);
  EXPECT_EQ(stage.look(*stage.b, other, "h"), file);

  everything();
  EXPECT_TRUE(stage.cluster.wait(stage.a->link(file, directory, "f", superuser())).ok());
  EXPECT_EQ(stage.look(*stage.b, directory, "f"), file);
  EXPECT_EQ(stage.cluster.wait(stage.b->attributes(file)).value().links, 2u);

  everything();
  EXPECT_TRUE(stage.cluster.wait(stage.a->unlink(other, "h", superuser())).ok());
  EXPECT_EQ(raw(stage.look(*stage.b, other, "h")), 0u);
  EXPECT_EQ(stage.cluster.wait(stage.b->attributes(file)).value().links, 1u);
  EXPECT_TRUE(stage.cluster.wait(stage.a->removeDirectory(ROOT_INODE, "e", superuser())).ok());
  EXPECT_EQ(raw(stage.look(*stage.b, ROOT_INODE, "e")), 0u);
}

TEST(Leases, WrittenSizesAreSeen) {
  Stage stage;
  auto file = kj::heap<TestFile>(stage.cluster, *stage.a, "f", 1);
  InodeId inode = file->attributes().inode;
  EXPECT_EQ(stage.cluster.wait(stage.b->attributes(inode)).value().sizeBytes, 0u);
  file->write(0, 4);
  file->sync();
  EXPECT_EQ(stage.cluster.wait(stage.b->attributes(inode)).value().sizeBytes, 4 * BLOCK_BYTES);
  auto again = [&] { EXPECT_TRUE(stage.cluster.wait(stage.a->attributes(inode)).ok()); };
  EXPECT_EQ(stage.calls(*stage.a, again), 0u) << "its own report told it";
}

// Who opens what is leased to him tells the master only when it matters.
TEST(Leases, AnOpenFileThatTheMasterHadNotHeardOf) {
  Stage stage;
  InodeId file = stage.make(*stage.a, ROOT_INODE, "f");
  EXPECT_TRUE(stage.cluster.wait(stage.b->attributes(file)).ok());
  HandleId handle = stage.b->open(file, 0);
  EXPECT_TRUE(stage.cluster.wait(stage.a->unlink(ROOT_INODE, "f", superuser())).ok());
  auto nameless = stage.cluster.wait(stage.b->attributes(file));
  ASSERT_TRUE(nameless.ok()) << "it is open";
  EXPECT_EQ(nameless.value().links, 0u);
  stage.b->release(handle);
  stage.world.runFor(SECOND);
  Client& c = stage.cluster.mount("c");
  EXPECT_FALSE(stage.cluster.wait(c.attributes(file)).ok()) << "nobody has it open any more";
}

// It does nothing, and both names stay.
TEST(Leases, ARenameBetweenTwoNamesOfOneFile) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  InodeId file = stage.make(*stage.a, directory, "f");
  EXPECT_TRUE(stage.cluster.wait(stage.b->link(file, directory, "g", superuser())).ok());
  EXPECT_TRUE(stage.cluster.wait(stage.a->rename(directory, "f", directory, "g", 0, superuser())).ok());
  EXPECT_EQ(stage.look(*stage.a, directory, "f"), file);
  EXPECT_EQ(stage.look(*stage.a, directory, "g"), file);
}

TEST(Leases, WhatWasRecalledIsNotBelieved) {
  Stage stage;
  auto file = kj::heap<TestFile>(stage.cluster, *stage.a, "f", 1);
  InodeId inode = file->attributes().inode;
  EXPECT_TRUE(stage.cluster.wait(stage.b->attributes(inode)).ok());
  EXPECT_GT(stage.b->believed(inode), 0);
  file->write(0, 4);
  EXPECT_EQ(stage.b->believed(inode), 0) << "a size of before the recall";
}

// While the answer is on its way nobody knows whether the change has been made.
TEST(Leases, AnOwnChangeOnItsWayIsNotDenied) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  stage.cluster.network().partitionOneWay(stage.cluster.leader(), "a");
  auto making = stage.a->makeNode(directory, "f", S_IFREG | 0644, 0, superuser()).promise();
  stage.cluster.waitFor("the file to be there", [&] { return raw(stage.look(*stage.b, directory, "f")) != 0; });
  auto looking = stage.a->lookup(directory, "f", superuser()).promise();
  bool answered = false;
  auto asked = looking.then([&](auto&& found) {
    answered = true;
    EXPECT_TRUE(found.ok()) << "absent, though another mount has seen it";
  }).eagerlyEvaluate(nullptr);
  stage.cluster.network().healAll();
  EXPECT_TRUE(stage.world.await(kj::mv(making), LEASE).ok());
  stage.cluster.waitFor("the lookup to be answered", [&] { return answered; });
}

// Both in one directory, again and again: every change is seen by the other at once.
TEST(Leases, TwoInOneDirectory) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  for (unsigned i = 0; i < 50; ++i) {
    Client& by = i % 2 == 0 ? *stage.a : *stage.b;
    Client& other = i % 2 == 0 ? *stage.b : *stage.a;
    std::string name = "n" + std::to_string(i % 7);
    InodeId before = stage.look(other, directory, name);
    InodeId after{};
    if (raw(before) == 0) {
      after = stage.make(by, directory, name);
    } else {
      ASSERT_TRUE(stage.cluster.wait(by.unlink(directory, name, superuser())).ok());
    }
    ASSERT_EQ(stage.look(other, directory, name), after) << i;
    ASSERT_EQ(stage.look(by, directory, name), after) << i;
  }
}

// Its process was killed: nobody can ask it, and it may be only cut off.
TEST(Leases, ALostMountKeepsOthersWaitingWhereItBelievesSomething) {
  Stage stage;
  InodeId believed = stage.makeDirectory(*stage.a, "d");
  InodeId unknown = stage.makeDirectory(*stage.a, "e");
  stage.look(*stage.b, believed, "x");
  stage.cluster.kill("b");
  EXPECT_LT(stage.time([&] { stage.make(*stage.a, unknown, "x"); }), WITHOUT_WAITING);
  Nanos waited = stage.time([&] { stage.make(*stage.a, believed, "x"); });
  EXPECT_GT(waited, LEASE / 2);
  EXPECT_LT(waited, LEASE + SECOND);
}

// Cut off, it believes what it was told until its lease has run out, and so long nothing of that is changed.
TEST(Leases, ACutOffMountBelievesNothingStale) {
  Stage stage;
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  stage.look(*stage.b, directory, "x");
  stage.cluster.network().partition("b", stage.cluster.leader());
  auto making = stage.a->makeNode(directory, "x", S_IFREG | 0644, 0, superuser()).promise();
  bool made = false;
  auto done = making.then([&](auto&&) { made = true; }).eagerlyEvaluate(nullptr);
  bool believedAfter = false;
  unsigned beliefs = 0;
  kj::Promise<void> asking = nullptr;
  bool asked = true;
  Nanos end = stage.world.clock().monotonic() + 2 * LEASE;
  while (stage.world.clock().monotonic() < end) {
    if (asked) {
      asked = false;
      asking = stage.b->lookup(directory, "x", superuser()).promise().then([&](auto&& found) {
        asked = true;
        believedAfter = believedAfter || (made && found.code() == ENOENT);
        ++beliefs;
      }).eagerlyEvaluate(nullptr);
    }
    stage.world.runFor(10 * MILLISECOND);
  }
  EXPECT_TRUE(made);
  EXPECT_GT(beliefs, 10u);
  EXPECT_FALSE(believedAfter) << "a name is absent at one mount after its creation was acknowledged at another";
}

// The next leader doesn't know who believes what: it waits for those who haven't come, and for nobody else.
TEST(Leases, ANewLeaderWaitsForTheMissing) {
  Stage stage(3);
  InodeId directory = stage.makeDirectory(*stage.a, "d");
  stage.look(*stage.b, directory, "x");
  stage.cluster.crash(stage.cluster.leader());
  Nanos both = stage.time([&] { stage.make(*stage.a, directory, "x"); });
  EXPECT_LT(both, SECOND);
  EXPECT_NE(raw(stage.look(*stage.b, directory, "x")), 0u);

  for (auto& master : stage.cluster.masters()) {
    if (!stage.cluster.isUp(master)) {
      stage.cluster.restart(master);
    }
  }
  stage.cluster.waitHealthy();
  stage.look(*stage.b, directory, "y");
  for (auto& master : stage.cluster.masters()) {
    stage.cluster.network().partition("b", master);
  }
  stage.cluster.crash(stage.cluster.leader());
  Nanos alone = stage.time([&] { stage.make(*stage.a, directory, "y"); });
  EXPECT_GT(alone, LEASE / 2);
  EXPECT_LT(alone, LEASE + 2 * SECOND);
}

// More names and attributes than either side keeps.
TEST(Leases, WhatIsForgottenIsAskedAgain) {
  Stage stage;
  ClientOptions options;
  options.limits.inodesMax = 64;
  options.limits.namesMax = 64;
  Client& c = stage.cluster.mount("c", options);
  constexpr unsigned DIRECTORIES = 100;
  constexpr unsigned ROUNDS = 20;
  std::vector<InodeId> directories;
  for (unsigned i = 0; i < DIRECTORIES; ++i) {
    directories.push_back(stage.makeDirectory(*stage.a, "d" + std::to_string(i)));
  }
  for (unsigned round = 0; round < ROUNDS; ++round) {
    for (unsigned i = 0; i < DIRECTORIES; ++i) {
      auto name = "n" + std::to_string(round);
      ASSERT_EQ(raw(stage.look(c, directories[i], name)), 0u);
      if (i % 3 == 0) {
        InodeId made = stage.make(*stage.a, directories[i], name);
        ASSERT_EQ(stage.look(c, directories[i], name), made);
      }
    }
  }
}

}  // namespace
}  // namespace cairn
