// How inodes, objects and sessions live and end: orphans, reclaim and cut queues, exactly-once replies, fencing.
#include <gtest/gtest.h>

#include "tests/unit/master/state_fixture.h"

namespace cairn {
namespace {

constexpr uint32_t FILE_MODE = S_IFREG | 0644;
constexpr uint64_t MIB = 1 << 20;

class Life : public testing::Test {
 protected:
  InodeId file(const std::string& name) { return ns.make(ROOT_INODE, name, FILE_MODE).inode(); }
  std::vector<ReclaimItem> reclaims() { return ns.reader().reclaims(0, 1000); }
  std::vector<CutItem> cuts() { return ns.reader().cuts(0, 1000); }
  void reclaimed(std::vector<uint64_t> ids) {
    ns.apply([&](auto command) {
      auto list = command.initReclaimed(static_cast<unsigned>(ids.size()));
      for (unsigned i = 0; i < list.size(); ++i) {
        list.set(i, ids[i]);
      }
    });
  }
  void cutApplied(uint64_t id) {
    ns.apply([&](auto command) { command.initCutsApplied(1).set(0, id); });
  }
  Applied endSession(SessionId session) {
    return ns.apply([&](auto command) { command.setEndSession(raw(session)); });
  }
  void dropHold(SessionId session, InodeId inode) {
    ns.apply([&](auto command) {
      command.initDropHolds().setSession(raw(session));
      command.getDropHolds().initInodes(1).set(0, raw(inode));
    });
  }

  TestNamespace ns;
};

TEST_F(Life, LastUnlinkReclaimsTheObject) {
  auto f = file("f");
  uint64_t object = ns.object(f);
  ns.written(f, object, 9 * MIB, 9 * MIB);
  ns.truncate(f, 5 * MIB);  // what is gone may still have chunks
  auto unlinked = ns.unlink(ROOT_INODE, "f");
  EXPECT_TRUE(unlinked.applied().changes.queued);
  ASSERT_EQ(reclaims().size(), 1u);
  EXPECT_EQ(raw(reclaims()[0].object), object);
  EXPECT_EQ(reclaims()[0].chunks, 3u);
  EXPECT_TRUE(cuts().empty());  // a deleted object needs no cuts
  EXPECT_EQ(ns.reader().counters().inodes, 1u);
  EXPECT_EQ(ns.reader().counters().allocatedBytes, 0u);
  reclaimed({reclaims()[0].id});
  EXPECT_TRUE(reclaims().empty());
  reclaimed({1, 2, 3});  // repeated or unknown: nothing
}

TEST_F(Life, EmptyFilesLeaveNothingToReclaim) {
  file("f");
  ns.unlink(ROOT_INODE, "f");
  EXPECT_TRUE(reclaims().empty());
}

TEST_F(Life, HeldFilesOutliveTheirNames) {
  auto f = file("f");
  auto other = ns.openSession("other", 5);
  ns.written(f, ns.object(f), 10, 4096);
  ns.holders = {{f, {ns.session, other}}};
  auto unlinked = ns.unlink(ROOT_INODE, "f");
  EXPECT_EQ(unlinked.applied().changes.orphaned, std::vector<InodeId>{f});
  EXPECT_TRUE(ns.reader().isOrphan(f));
  EXPECT_EQ(ns.stat(f).getLinks(), 0u);
  EXPECT_EQ(ns.written(f, ns.object(f), 20).get().getWritten()[0].getErrno(), 0);
  EXPECT_EQ(ns.link(f, ROOT_INODE, "again").code(), ENOENT);
  dropHold(ns.session, f);
  EXPECT_TRUE(ns.reader().isOrphan(f));
  ASSERT_EQ(ns.reader().orphans().size(), 1u);
  EXPECT_EQ(ns.reader().orphans()[0].holders, std::vector<SessionId>{other});
  dropHold(other, f);
  EXPECT_FALSE(ns.reader().exists(f));
  EXPECT_EQ(reclaims().size(), 1u);
  dropHold(other, f);
  EXPECT_EQ(reclaims().size(), 1u);
}

TEST_F(Life, RenameOverAHeldFileOrphansIt) {
  auto f = file("f");
  file("g");
  ns.holders = {{f, {ns.session}}};
  EXPECT_EQ(ns.rename(ROOT_INODE, "g", ROOT_INODE, "f").applied().changes.orphaned, std::vector<InodeId>{f});
  EXPECT_TRUE(ns.reader().isOrphan(f));
}

TEST_F(Life, EndedSessionsDropWhatTheyHeld) {
  auto other = ns.openSession("other", 5);
  auto f = file("f");
  auto g = file("g");
  ns.written(f, ns.object(f), 10, 4096);
  ns.holders = {{f, {other}}, {g, {other, ns.session}}};
  ns.unlink(ROOT_INODE, "f");
  ns.unlink(ROOT_INODE, "g");
  auto version = ns.reader().map().version;
  auto ended = endSession(other);
  EXPECT_EQ(ended.changes.ended, std::vector<SessionId>{other});
  EXPECT_TRUE(ended.changes.map);
  EXPECT_FALSE(ns.reader().exists(f));
  EXPECT_TRUE(ns.reader().isOrphan(g));
  EXPECT_FALSE(ns.reader().sessionExists(other));
  EXPECT_EQ(ns.reader().map().fenced, std::set<SessionId>{other});
  EXPECT_EQ(ns.reader().map().version, next(version));
  EXPECT_EQ(ns.outcome(endSession(other)), ESTALE);
  ns.apply([&](auto command) { command.initUnfence(1).set(0, raw(other)); });
  EXPECT_TRUE(ns.reader().map().fenced.empty());
}

TEST_F(Life, OrphansThatOnlyEndedSessionsHoldAreFreed) {
  auto other = ns.openSession("other", 5);
  endSession(other);
  auto f = file("f");
  ns.holders = {{f, {other}}};
  EXPECT_TRUE(ns.unlink(ROOT_INODE, "f").applied().changes.orphaned.empty());
  EXPECT_FALSE(ns.reader().exists(f));
}

// The make was in flight when the unlink's holders were gathered.
TEST_F(Life, AMakeThatHoldsCountsBeforeAnybodyKnows) {
  auto before = ns.reader().appliedIndex();
  auto made = ns.execute([&](wire::Op::Builder op) {
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::StringPtr("f").asBytes());
    make.setMode(FILE_MODE);
    make.setHold(true);
  });
  auto unlinkSince = [&](LogIndex index) {
    auto applied = ns.apply([&](auto command) {
      auto client = command.initClient();
      client.setSession(raw(ns.session));
      client.setSlot(9);
      client.setSequence(1000);
      client.setHoldersAt(raw(index));
      auto unlink = client.initOp().initUnlink();
      unlink.setParent(raw(ROOT_INODE));
      unlink.setName(kj::StringPtr("f").asBytes());
    });
    return applied.changes.orphaned;
  };
  EXPECT_EQ(unlinkSince(before), std::vector<InodeId>{made.inode()});
  EXPECT_TRUE(ns.reader().isOrphan(made.inode()));
}

TEST_F(Life, HoldersKnownAfterTheMakeAreBelieved) {
  auto made = ns.execute([&](wire::Op::Builder op) {
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::StringPtr("f").asBytes());
    make.setMode(FILE_MODE);
    make.setHold(true);
  });
  ns.unlink(ROOT_INODE, "f");  // says: nobody, as of now
  EXPECT_FALSE(ns.reader().exists(made.inode()));
}

TEST_F(Life, TruncateToNothingSwapsTheObject) {
  auto f = file("f");
  uint64_t object = ns.object(f);
  ns.written(f, object, 100, 4096);
  EXPECT_EQ(ns.truncate(f, 0).code(), 0);
  EXPECT_NE(ns.object(f), object);
  EXPECT_EQ(ns.stat(f).getSize(), 0u);
  EXPECT_EQ(ns.stat(f).getAllocatedBytes(), 0u);
  ASSERT_EQ(reclaims().size(), 1u);
  EXPECT_EQ(raw(reclaims()[0].object), object);
  // A late size of the old bytes changes nothing.
  EXPECT_EQ(ns.written(f, object, 100).get().getWritten()[0].getErrno(), ESTALE);
  EXPECT_EQ(ns.stat(f).getSize(), 0u);
}

TEST_F(Life, ShrinkingCutsUntilAllHaveApplied) {
  auto f = file("f");
  ns.written(f, ns.object(f), 9 * MIB, 9 * MIB);
  EXPECT_TRUE(ns.truncate(f, 5 * MIB).applied().changes.queued);
  auto layout = ns.stat(f).getLayout();
  EXPECT_EQ(layout.getGeneration(), 1u);
  ASSERT_EQ(layout.getCuts().size(), 1u);
  EXPECT_EQ(layout.getCuts()[0].getGeneration(), 1u);
  EXPECT_EQ(layout.getCuts()[0].getFirstDead(), 5 * MIB);
  ASSERT_EQ(cuts().size(), 1u);
  EXPECT_EQ(cuts()[0].chunks, 3u);
  EXPECT_EQ(raw(cuts()[0].object), ns.object(f));
  EXPECT_EQ(ns.stat(f).getAllocatedBytes(), 5 * MIB);
  cutApplied(cuts()[0].id);
  EXPECT_EQ(ns.stat(f).getLayout().getCuts().size(), 0u);
  EXPECT_EQ(ns.stat(f).getLayout().getGeneration(), 1u);
  EXPECT_TRUE(cuts().empty());
}

TEST_F(Life, GrowingOnlyChangesTheSize) {
  auto f = file("f");
  uint64_t object = ns.object(f);
  EXPECT_EQ(ns.truncate(f, 9 * MIB).code(), 0);
  EXPECT_EQ(ns.object(f), object);
  EXPECT_EQ(ns.stat(f).getLayout().getGeneration(), 0u);
  EXPECT_TRUE(cuts().empty());
  EXPECT_TRUE(reclaims().empty());
}

TEST_F(Life, ADeeperCutTakesTheShallowersPlace) {
  auto f = file("f");
  ns.written(f, ns.object(f), 9 * MIB);
  for (uint64_t size = 100; size > 50; --size) {
    ASSERT_EQ(ns.truncate(f, size).code(), 0);
  }
  EXPECT_EQ(ns.stat(f).getLayout().getGeneration(), 50u);
  ASSERT_EQ(ns.stat(f).getLayout().getCuts().size(), 1u);
  EXPECT_EQ(ns.stat(f).getLayout().getCuts()[0].getFirstDead(), 51u);
  EXPECT_EQ(cuts().size(), 1u);
}

TEST_F(Life, ALayoutHoldsEightCuts) {
  auto f = file("f");
  for (uint64_t i = 1; i <= 8; ++i) {
    ASSERT_EQ(ns.truncate(f, i * 1000 + 10).code(), 0);
    ASSERT_EQ(ns.truncate(f, i * 1000).code(), 0);
  }
  EXPECT_EQ(ns.stat(f).getLayout().getCuts().size(), 8u);
  ASSERT_EQ(ns.truncate(f, 9010).code(), 0);
  EXPECT_EQ(ns.truncate(f, 9000).code(), EAGAIN);
  EXPECT_EQ(ns.stat(f).getSize(), 9010u);
  EXPECT_EQ(ns.stat(f).getLayout().getGeneration(), 8u);
  cutApplied(cuts()[3].id);
  EXPECT_EQ(ns.truncate(f, 9000).code(), 0);
}

TEST_F(Life, RepeatsGetTheFirstReply) {
  auto mkdir = [](wire::Op::Builder op) {
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::StringPtr("d").asBytes());
    make.setMode(S_IFDIR | 0755);
  };
  auto first = ns.send(ns.session, 5, 100, mkdir);
  EXPECT_EQ(first.code(), 0);
  ns.tick();
  ASSERT_EQ(ns.unlink(ROOT_INODE, "d", true).code(), 0);
  auto digest = ns.contents();
  auto second = ns.send(ns.session, 5, 100, mkdir);
  EXPECT_EQ(second.code(), 0);
  EXPECT_TRUE(second.applied().repeated);
  EXPECT_EQ(second.get().getIndex(), first.get().getIndex());
  EXPECT_EQ(second.inode(), first.inode());
  EXPECT_EQ(ns.lookup(ROOT_INODE, "d"), ENOENT);  // not executed again
  EXPECT_EQ(ns.contents(), digest);
  EXPECT_EQ(ns.send(ns.session, 5, 99, mkdir).code(), EBADE);
  EXPECT_EQ(ns.send(ns.session, 5, 101, mkdir).code(), 0);
  EXPECT_EQ(ns.send(ns.session, 64, 1, mkdir).code(), EINVAL);
}

TEST_F(Life, RepeatedErrorsStayErrors) {
  auto rmdir = [](wire::Op::Builder op) {
    auto unlink = op.initUnlink();
    unlink.setParent(raw(ROOT_INODE));
    unlink.setName(kj::StringPtr("d").asBytes());
    unlink.setDirectory(true);
  };
  EXPECT_EQ(ns.send(ns.session, 5, 100, rmdir).code(), ENOENT);
  ns.make(ROOT_INODE, "d", S_IFDIR | 0755);
  EXPECT_EQ(ns.send(ns.session, 5, 100, rmdir).code(), ENOENT);
  EXPECT_EQ(ns.lookup(ROOT_INODE, "d"), 0);
}

TEST_F(Life, AnEndedSessionExecutesNothing) {
  auto other = ns.openSession("other", 5);
  auto mkdir = [](wire::Op::Builder op) {
    op.initMake().setParent(raw(ROOT_INODE));
    op.getMake().setName(kj::StringPtr("d").asBytes());
    op.getMake().setMode(S_IFDIR | 0755);
  };
  EXPECT_EQ(ns.send(other, 0, 1, mkdir).code(), 0);
  endSession(other);
  EXPECT_EQ(ns.send(other, 0, 1, mkdir).code(), ESTALE);  // not even the old reply
  EXPECT_EQ(ns.send(other, 0, 2, mkdir).code(), ESTALE);
  EXPECT_EQ(ns.send(SessionId{999}, 0, 2, mkdir).code(), ESTALE);
}

TEST_F(Life, TheSameNonceIsTheSameSession) {
  auto one = ns.openSession("one", 5);
  EXPECT_EQ(ns.openSession("one", 5), one);
  EXPECT_NE(ns.openSession("one", 6), one);
  EXPECT_EQ(ns.reader().sessions().size(), 3u);
  endSession(one);
  EXPECT_NE(ns.openSession("one", 5), one);
}

TEST_F(Life, TimeNeverGoesBack) {
  ns.tick();
  auto f = file("f");
  int64_t then = ns.now();
  ns.tick(-100);
  ns.chmod(f, 0600);
  EXPECT_EQ(ns.stat(f).getChanged().getSeconds(), then);
}

TEST_F(Life, ClusterChangesNeedTheMapTheyWereMadeFrom) {
  auto change = [&](uint64_t expected) {
    return ns.outcome(ns.apply([&](auto command) {
      auto cluster = command.initCluster();
      cluster.setExpected(expected);
      auto shard = cluster.initShards(1)[0];
      shard.setId(3);
      shard.setEpoch(7);
      shard.initInSync(2).set(1, 9);
      auto server = cluster.initServers(1)[0];
      server.initId().setLow(4);
      server.setName("c1");
      auto volume = cluster.initVolumes(1)[0];
      volume.setNumber(9);
      volume.setWeight(5);
    }));
  };
  uint64_t version = raw(ns.reader().map().version);
  EXPECT_EQ(change(version + 1), EAGAIN);
  EXPECT_EQ(ns.reader().map().shards.size(), 0u);
  EXPECT_EQ(change(version), 0);
  EXPECT_EQ(raw(ns.reader().map().version), version + 1);
  ASSERT_EQ(ns.reader().map().shards.size(), 1u);
  EXPECT_EQ(ns.reader().map().shards.begin()->second.changed, ns.reader().map().version);
  EXPECT_EQ(ns.reader().map().shards.begin()->second.inSync.size(), 2u);
  EXPECT_EQ(ns.reader().map().servers.begin()->second.name, "c1");
  EXPECT_EQ(ns.reader().map().volumes.begin()->second.weight, 5u);
  EXPECT_EQ(change(version), EAGAIN);
}

TEST_F(Life, ACaseOfFormatTwice) {
  auto applied = ns.apply([](auto command) { command.initFormat().initClasses(1); });
  EXPECT_EQ(ns.outcome(applied), EEXIST);
}

}  // namespace
}  // namespace cairn
