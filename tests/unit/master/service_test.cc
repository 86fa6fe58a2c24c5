#include <gtest/gtest.h>

#include <cerrno>

#include "master/cleanup.h"
#include "master/session/fenced_list.h"
#include "master/space.h"
#include "tests/unit/master/service_world.h"

namespace cairn {
namespace {

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() : owned(std::make_unique<MasterWorld>(7)), cluster(*owned) {}

  // Three chunkservers, placed.
  void place() {
    for (auto* name : {"c1", "c2", "c3"}) {
      servers.push_back(std::make_unique<TestServer>(cluster, name));
      ASSERT_EQ(servers.back()->start(), 0);
    }
    ASSERT_TRUE(cluster.world.runUntil([&] { return servers[0]->watcher->map.shards.size() == 16; }, LIMIT));
  }
  void runFor(Nanos time) { cluster.world.runFor(time); }

  capnp::Response<wire::Admin::StatusResults> status() {
    TestLink link(cluster.world, "admin", cluster.address);
    kj::Promise<capnp::Response<wire::Admin::StatusResults>> sent =
        link.admin(MasterWorld::CLUSTER).statusRequest().send();
    return cluster.world.await(kj::mv(sent), LIMIT);
  }
  bool hasReason(const std::string& code) {
    auto reply = status();
    for (auto reason : reply.getStatus().getReasons()) {
      if (code == reason.getCode().cStr()) {
        return true;
      }
    }
    return false;
  }
  const ShardMap& map() { return cluster.member().replica().reader().map(); }
  size_t orphans() { return cluster.member().replica().reader().orphans().size(); }

  std::unique_ptr<MasterWorld> owned;
  MasterWorld& cluster;
  std::vector<std::unique_ptr<TestServer>> servers;
};

// ---- the door -----------------------------------------------------------------------------------

TEST_F(ServiceTest, TheDoorTurnsStrangersAway) {
  TestLink link(cluster.world, "h1", cluster.address);
  auto enter = [&](ClusterId id, uint32_t protocol, uint32_t oldest) {
    auto request = link.door().enterRequest();
    auto hello = request.initHello();
    toWire(id, hello.initCluster());
    hello.setProtocol(protocol);
    hello.setOldest(oldest);
    kj::Promise<capnp::Response<wire::MasterDoor::EnterResults>> sent = request.send();
    return cluster.world.await(kj::mv(sent), LIMIT);
  };
  auto foreign = enter(ClusterId{1, 2}, wire::PROTOCOL, wire::PROTOCOL);
  EXPECT_EQ(foreign.getOutcome().getErrno(), ESTALE);
  EXPECT_NE(std::string(foreign.getOutcome().getWhy().cStr()).find(toText(MasterWorld::CLUSTER)), std::string::npos);
  EXPECT_FALSE(foreign.hasMaster());
  const uint32_t newest = wire::PROTOCOL, oldest = wire::OLDEST_PROTOCOL;
  auto errorOf = [&](uint32_t to, uint32_t from) {
    return enter(MasterWorld::CLUSTER, to, from).getOutcome().getErrno();
  };
  EXPECT_EQ(errorOf(newest + 1, newest + 1), ESTALE);
  EXPECT_EQ(errorOf(oldest - 1, 0), ESTALE);
  EXPECT_EQ(errorOf(newest + 1, newest), 0) << "a newer program that still speaks ours";
  EXPECT_EQ(errorOf(newest, oldest), 0);
}

// ---- clients ------------------------------------------------------------------------------------

TEST_F(ServiceTest, AClientChangesAndReads) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  EXPECT_EQ(client.make("a"), 0);
  InodeId a = client.inode;
  EXPECT_GT(client.index, 0);
  EXPECT_EQ(client.make("a"), EEXIST);
  EXPECT_EQ(client.exists(a), 1);
  EXPECT_EQ(client.rename("a", "b"), 0);
  EXPECT_EQ(client.unlink("a"), ENOENT);
  EXPECT_EQ(client.unlink("b"), 0);
  EXPECT_EQ(client.exists(a), -ESTALE);
}

TEST_F(ServiceTest, ARetryAfterARestartGetsTheFirstReply) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_EQ(client.make("a"), 0);
  InodeId a = client.inode;
  uint64_t index = client.index;
  cluster.restart();
  EXPECT_EQ(client.renew(), false) << "the old link is gone";
  ASSERT_EQ(client.attach(), 0);
  EXPECT_EQ(client.repeat(), 0);
  EXPECT_EQ(client.inode, a);
  EXPECT_EQ(client.index, index);
}

TEST_F(ServiceTest, AnOpenFileOutlivesItsName) {
  TestClient one(cluster, "h1"), two(cluster, "h2");
  ASSERT_EQ(one.attach(), 0);
  ASSERT_EQ(two.attach(), 0);
  ASSERT_EQ(one.make("made-open", true), 0);
  InodeId held = one.inode;
  ASSERT_EQ(one.make("plain"), 0);
  InodeId plain = one.inode;
  ASSERT_TRUE(two.hold({plain}, {}));
  EXPECT_EQ(one.unlink("made-open"), 0);
  EXPECT_EQ(one.unlink("plain"), 0);
  EXPECT_EQ(one.exists(held), 0);
  EXPECT_EQ(one.exists(plain), 0);
  ASSERT_TRUE(one.hold({}, {held, plain}));
  runFor(SECOND);
  EXPECT_EQ(one.exists(held), -ESTALE);
  EXPECT_EQ(one.exists(plain), 0) << "the other one holds it";
  ASSERT_TRUE(two.hold({}, {plain}));
  runFor(SECOND);
  EXPECT_EQ(one.exists(plain), -ESTALE);
  EXPECT_EQ(orphans(), 0);
}

TEST_F(ServiceTest, WhatLosesItsNameInARaceIsStillKeptForItsHolder) {
  TestClient one(cluster, "h1"), two(cluster, "h2");
  ASSERT_EQ(one.attach(), 0);
  ASSERT_EQ(two.attach(), 0);
  ASSERT_EQ(one.make("old", true), 0);
  InodeId old = one.inode;
  ASSERT_EQ(one.make("x"), 0);
  InodeId x = one.inode;
  // The name's inode is changed by a rename that is under way when the unlink arrives.
  auto renamed = one.start([](wire::Op::Builder op) {
    op.initCaller();
    auto rename = op.initRename();
    rename.setParent(raw(ROOT_INODE));
    rename.setName(kj::StringPtr("old").asBytes());
    rename.setNewParent(raw(ROOT_INODE));
    rename.setNewName(kj::StringPtr("x").asBytes());
  });
  auto unlinked = one.start([](wire::Op::Builder op) {
    op.initCaller();
    auto unlink = op.initUnlink();
    unlink.setParent(raw(ROOT_INODE));
    unlink.setName(kj::StringPtr("x").asBytes());
  });
  EXPECT_EQ(cluster.world.await(kj::mv(renamed), LIMIT), 0);
  EXPECT_EQ(cluster.world.await(kj::mv(unlinked), LIMIT), 0);
  EXPECT_EQ(two.exists(old), 0) << "nameless, but held";
  EXPECT_EQ(two.exists(x), -ESTALE);
}

TEST_F(ServiceTest, ADropDuringTheUnlinkLeavesNoOrphan) {
  TestClient one(cluster, "h1"), two(cluster, "h2");
  ASSERT_EQ(one.attach(), 0);
  ASSERT_EQ(two.attach(), 0);
  ASSERT_EQ(one.make("a"), 0);
  InodeId a = one.inode;
  ASSERT_TRUE(two.hold({a}, {}));
  auto unlinked = one.start([](wire::Op::Builder op) {
    op.initCaller();
    auto unlink = op.initUnlink();
    unlink.setParent(raw(ROOT_INODE));
    unlink.setName(kj::StringPtr("a").asBytes());
  });
  ASSERT_TRUE(two.hold({}, {a}));
  EXPECT_EQ(cluster.world.await(kj::mv(unlinked), LIMIT), 0);
  runFor(SECOND);
  EXPECT_EQ(one.exists(a), -ESTALE);
  EXPECT_EQ(orphans(), 0);
}

TEST_F(ServiceTest, AfterARestartEverythingIsHeldUntilItsClientSpeaks) {
  TestClient one(cluster, "h1"), two(cluster, "h2");
  ASSERT_EQ(one.attach(), 0);
  ASSERT_EQ(two.attach(), 0);
  ASSERT_EQ(one.make("a"), 0);
  InodeId a = one.inode;
  ASSERT_EQ(one.make("b"), 0);
  InodeId b = one.inode;
  ASSERT_TRUE(two.hold({a}, {}));
  cluster.restart();
  ASSERT_EQ(one.attach(), 0);
  EXPECT_EQ(one.unlink("a"), 0);
  EXPECT_EQ(one.unlink("b"), 0);
  EXPECT_EQ(one.exists(a), 0) << "two may hold it";
  EXPECT_EQ(one.exists(b), 0) << "and this as well";
  ASSERT_EQ(two.attach(), 0);
  ASSERT_TRUE(two.hold({a}, {}));
  runFor(SECOND);
  EXPECT_EQ(one.exists(a), 0) << "two does";
  EXPECT_EQ(one.exists(b), -ESTALE) << "two doesn't";
  EXPECT_EQ(orphans(), 1);
}

TEST_F(ServiceTest, ALeaseThatRunsOutEndsTheSessionAndFencesIt) {
  TestClient one(cluster, "h1"), two(cluster, "h2");
  ASSERT_EQ(one.attach(), 0);
  ASSERT_EQ(two.attach(), 0);
  ASSERT_EQ(two.make("a", true), 0);
  InodeId a = two.inode;
  ASSERT_EQ(one.unlink("a"), 0);
  two.hangUp();
  for (int i = 0; i < 4; ++i) {
    runFor(SECOND);
    EXPECT_TRUE(one.renew());
  }
  EXPECT_EQ(one.exists(a), 0) << "its lease still runs";
  runFor(2 * SECOND);
  ASSERT_TRUE(one.renew());
  EXPECT_EQ(one.exists(a), -ESTALE);
  EXPECT_TRUE(map().fenced.contains(SessionId{two.id}));
  EXPECT_EQ(two.attach(), ESTALE);
  two.id = 0;
  EXPECT_EQ(two.attach(), 0);
}

TEST_F(ServiceTest, ALinkThatIsTakenOverSaysNothingMore) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  auto oldLink = std::move(client.link);
  auto oldSession = KJ_ASSERT_NONNULL(client.session);
  ASSERT_EQ(client.attach(), 0);
  kj::Promise<void> renewed = oldSession.renewRequest().send().ignoreResult();
  EXPECT_ANY_THROW(cluster.world.await(kj::mv(renewed), LIMIT));
  EXPECT_TRUE(client.renew());
}

TEST_F(ServiceTest, AnAttachThatComesLateTakesNothingOver) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_EQ(client.attach(3), 0);
  auto link = std::move(client.link);
  auto session = KJ_ASSERT_NONNULL(client.session);
  EXPECT_EQ(client.attach(2), EALREADY) << "sent before the third, over a link that was given up";
  kj::Promise<void> renewed = session.renewRequest().send().ignoreResult();
  EXPECT_NO_THROW(cluster.world.await(kj::mv(renewed), LIMIT));
}

TEST_F(ServiceTest, DetachEndsInGoodOrder) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_TRUE(client.detach());
  EXPECT_EQ(client.make("a"), -1);
  EXPECT_EQ(status().getStatus().getSessions(), 0);
}

TEST_F(ServiceTest, AnAdministratorEvicts) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  TestLink link(cluster.world, "admin", cluster.address);
  auto evict = [&](uint64_t session) {
    auto request = link.admin(MasterWorld::CLUSTER).evictRequest();
    request.setSession(session);
    kj::Promise<capnp::Response<wire::Admin::EvictResults>> sent = request.send();
    return cluster.world.await(kj::mv(sent), LIMIT).getOutcome().getErrno();
  };
  EXPECT_EQ(evict(client.id + 5), ENOENT);
  EXPECT_EQ(evict(client.id), 0);
  EXPECT_EQ(client.make("a"), -1);
  EXPECT_EQ(client.attach(), ESTALE);
}

TEST_F(ServiceTest, AFenceGoesWhenNoLateWriteCanExist) {
  place();
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  servers[0]->drains = false;
  ASSERT_TRUE(client.detach());
  ASSERT_EQ(map().fenced.size(), 1);
  runFor(FencedList::KEEP + 60 * SECOND);
  EXPECT_EQ(map().fenced.size(), 1) << "one chunkserver may still have a write of it";
  servers[0]->drains = true;
  runFor(30 * SECOND);
  EXPECT_EQ(map().fenced.size(), 0);
}

// ---- chunkservers -------------------------------------------------------------------------------

TEST_F(ServiceTest, RegistrationPlacesAndTheMapReachesAll) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  EXPECT_TRUE(hasReason("waiting-for-servers"));
  place();
  runFor(SECOND);
  EXPECT_EQ(client.watcher->map.version, map().version);
  EXPECT_EQ(client.watcher->map.shards.size(), 16);
  EXPECT_GT(servers[0]->lease, 0);
  auto reply = status();
  EXPECT_STREQ(reply.getStatus().getHealth().cStr(), "healthy");
  EXPECT_EQ(reply.getStatus().getShards().getHealthy(), 16);
  EXPECT_EQ(reply.getStatus().getServers().size(), 3);
  EXPECT_EQ(reply.getStatus().getSpace().getTotalBytes(), uint64_t{1} << 40);
}

// Its heartbeats come through again, and the map doesn't yet.
TEST_F(ServiceTest, WhoFellOutGetsNoLeaseBeforeItKnows) {
  place();
  runFor(SECOND);
  ASSERT_GT(servers[2]->lease, 0);
  cluster.world.network().isolate("c3");
  VolumeNumber volume = servers[2]->number();
  auto isOut = [&] { return !map().shards.begin()->second.isInSync(volume); };
  ASSERT_TRUE(cluster.world.runUntil(isOut, LIMIT));
  servers[2]->watcher->silent = true;
  servers[2]->lease = -1;
  cluster.world.network().rejoin("c3");
  ASSERT_TRUE(cluster.world.runUntil([&] { return servers[2]->lease != -1; }, LIMIT));
  EXPECT_EQ(servers[2]->lease, 0) << "it serves by a map in which it is in sync";
  runFor(SECOND);
  EXPECT_EQ(servers[2]->lease, 0);
}

TEST_F(ServiceTest, ALostServerIsReplacedWithinTwoSeconds) {
  place();
  servers[0]->kill();
  ASSERT_TRUE(cluster.world.runUntil(
      [&] {
        auto& shard = servers[1]->watcher->map.shards.begin()->second;
        return shard.inSync.size() == 2;
      },
      2 * SECOND));
  EXPECT_TRUE(hasReason("server-down"));
  servers[0]->restart();
  ASSERT_TRUE(cluster.world.runUntil([&] { return status().getStatus().getShards().getHealthy() == 16; }, 10 * SECOND));
  EXPECT_STREQ(status().getStatus().getHealth().cStr(), "healthy");
}

TEST_F(ServiceTest, ACopiedServerIsRefusedAndItsRestartIsNot) {
  place();
  TestServer copy(cluster, "c1");
  copy.incarnation = Incarnation{5, 6};
  EXPECT_EQ(copy.start(), EEXIST);
  TestServer thief(cluster, "c9");
  thief.volumes = servers[0]->volumes;
  EXPECT_EQ(thief.start(), ESTALE) << "the volume is another server's";
  servers[0]->kill();
  runFor(100 * MILLISECOND);
  EXPECT_EQ(copy.start(), 0);
}

TEST_F(ServiceTest, ARestartOfAllTogether) {
  place();
  runFor(SECOND);
  auto before = map().shards.begin()->second.epoch;
  cluster.crash();
  for (auto& server : servers) {
    server->kill();
  }
  cluster.start();
  for (auto& server : servers) {
    server->restart();
  }
  ASSERT_TRUE(cluster.world.runUntil([&] { return map().shards.begin()->second.epoch > before; }, 2 * SECOND));
  EXPECT_EQ(map().shards.begin()->second.inSync.size(), 3);
}

TEST_F(ServiceTest, AMasterRestartLeavesTheMapAlone) {
  place();
  runFor(SECOND);
  auto version = map().version;
  cluster.restart();
  for (auto& server : servers) {
    server->kill();
    ASSERT_EQ(server->start(), 0);
  }
  runFor(20 * SECOND);
  EXPECT_EQ(map().version, version);
}

TEST_F(ServiceTest, ChangesTravelAsDeltasAndASilentWatcherIsDropped) {
  place();
  TestClient client(cluster, "h1"), deaf(cluster, "h2");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_EQ(deaf.attach(), 0);
  runFor(SECOND);
  EXPECT_EQ(client.watcher->completePushes, 1);
  deaf.watcher->silent = true;
  servers[0]->kill();
  for (int i = 0; i < 4; ++i) {
    runFor(SECOND);
    EXPECT_TRUE(client.renew());
    EXPECT_TRUE(deaf.renew());
  }
  EXPECT_EQ(client.watcher->completePushes, 1);
  EXPECT_GT(client.watcher->pushes, 1);
  EXPECT_EQ(client.watcher->map.version, map().version);
  for (int i = 0; i < 10; ++i) {
    runFor(SECOND);
    client.renew();
    deaf.renew();
  }
  EXPECT_FALSE(deaf.renew()) << "its link counts as broken";
  EXPECT_TRUE(client.renew());
}

// ---- clean-up -----------------------------------------------------------------------------------

TEST_F(ServiceTest, DeletedFilesAreReclaimedByAllPrimariesConcerned) {
  place();
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  servers[2]->doesWork = false;
  for (int i = 0; i < 20; ++i) {
    std::string name = "f" + std::to_string(i);
    ASSERT_EQ(client.make(name), 0);
    ASSERT_EQ(client.written(client.inode, client.object, 100 << 20), 0);
    ASSERT_EQ(client.unlink(name), 0);
  }
  auto& reader = cluster.member().replica().reader();
  ASSERT_EQ(reader.reclaims(0, 100).size(), 20);
  runFor(Cleanup::RECLAIM_DELAY - SECOND);
  EXPECT_EQ(servers[0]->reclaims, 0) << "those who write come first";
  runFor(2 * SECOND);
  EXPECT_GT(servers[0]->reclaims, 0);
  EXPECT_EQ(reader.reclaims(0, 100).size(), 20) << "one primary hasn't confirmed";
  EXPECT_EQ(status().getStatus().getReclaimBacklog(), 20);
  servers[2]->doesWork = true;
  runFor(12 * SECOND);
  EXPECT_EQ(reader.reclaims(0, 100).size(), 0);
  EXPECT_EQ(status().getStatus().getReclaimBacklog(), 0);
}

TEST_F(ServiceTest, RoomThatIsWantedIsReclaimedAtOnce) {
  place();
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  for (auto& server : servers) {
    server->usedBytes = TestServer::TOTAL_BYTES / 100 * (FILLING_PERCENT + 1);
  }
  runFor(SECOND);
  ASSERT_EQ(client.make("a"), 0);
  ASSERT_EQ(client.written(client.inode, client.object, 100 << 20), 0);
  ASSERT_EQ(client.unlink("a"), 0);
  runFor(SECOND);
  EXPECT_EQ(cluster.member().replica().reader().reclaims(0, 100).size(), 0);
}

TEST_F(ServiceTest, ACutLeavesTheLayoutWhenAllHaveAppliedIt) {
  place();
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_EQ(client.make("a"), 0);
  InodeId a = client.inode;
  ASSERT_EQ(client.written(a, client.object, 100 << 20), 0);
  for (auto& server : servers) {
    server->doesWork = false;
  }
  ASSERT_EQ(client.truncate(a, 12345), 0);
  runFor(SECOND);
  auto& reader = cluster.member().replica().reader();
  EXPECT_EQ(reader.cuts(0, 100).size(), 1);
  EXPECT_GT(servers[0]->cuts + servers[1]->cuts + servers[2]->cuts, 0);
  servers[0]->restart();  // and forgets what it was told
  for (auto& server : servers) {
    server->doesWork = true;
  }
  runFor(30 * SECOND);
  EXPECT_EQ(reader.cuts(0, 100).size(), 0);
}

// ---- administration -----------------------------------------------------------------------------

TEST_F(ServiceTest, StatusTellsBadBlocksAndSpace) {
  place();
  servers[1]->badBlocks = 2;
  runFor(SECOND);
  EXPECT_TRUE(hasReason("bad-blocks"));
  for (auto& server : servers) {
    server->usedBytes = (uint64_t{1} << 40) / 100 * 92;
  }
  runFor(SECOND);
  EXPECT_TRUE(hasReason("space-low"));
  auto reply = status();
  EXPECT_STREQ(reply.getStatus().getHealth().cStr(), "degraded");
  EXPECT_LT(reply.getStatus().getSpace().getAvailableBytes(), (uint64_t{1} << 40) / 100 * 4);
}

TEST_F(ServiceTest, PathsResolveAndSessionsAreListed) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  ASSERT_EQ(client.make("d", false, 040755), 0);
  InodeId d = client.inode;
  TestLink link(cluster.world, "admin", cluster.address);
  auto resolve = [&](const char* path) {
    auto request = link.admin(MasterWorld::CLUSTER).resolveRequest();
    request.setPath(kj::StringPtr(path).asBytes());
    kj::Promise<capnp::Response<wire::Admin::ResolveResults>> sent = request.send();
    return cluster.world.await(kj::mv(sent), LIMIT);
  };
  EXPECT_EQ(resolve("/d").getAttributes().getInode(), raw(d));
  EXPECT_EQ(resolve("/nothing").getOutcome().getErrno(), ENOENT);
  kj::Promise<capnp::Response<wire::Admin::SessionsResults>> sent =
      link.admin(MasterWorld::CLUSTER).sessionsRequest().send();
  auto sessions = cluster.world.await(kj::mv(sent), LIMIT);
  ASSERT_EQ(sessions.getSessions().size(), 1);
  EXPECT_STREQ(sessions.getSessions()[0].getName().cStr(), "h1");
  EXPECT_TRUE(sessions.getSessions()[0].getAttached());
  EXPECT_LE(sessions.getSessions()[0].getLeaseNanosLeft(), 6 * SECOND);
}

// ---- the whole master ---------------------------------------------------------------------------

TEST(ServiceTrace, EqualSeedsGiveEqualTraces) {
  auto trace = [](uint64_t seed) {
    MasterWorld cluster(seed, 1);
    TestServer server(cluster, "c1");
    EXPECT_EQ(server.start(), 0);
    TestClient client(cluster, "h1");
    EXPECT_EQ(client.attach(), 0);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(client.make("f" + std::to_string(i)), 0);
    }
    cluster.world.runFor(5 * SECOND);
    return cluster.world.traceHash();
  };
  EXPECT_EQ(trace(3), trace(3));
  EXPECT_NE(trace(3), trace(4));
}

TEST_F(ServiceTest, StopsInGoodOrderWithCallsUnderWay) {
  TestClient client(cluster, "h1");
  ASSERT_EQ(client.attach(), 0);
  auto under = client.start([](wire::Op::Builder op) {
    op.initCaller();
    auto make = op.initMake();
    make.setParent(raw(ROOT_INODE));
    make.setName(kj::StringPtr("a").asBytes());
    make.setMode(0100644);
  });
  cluster.world.runFor(100 * MICROSECOND);
  cluster.stop();
  EXPECT_EQ(cluster.world.await(kj::mv(under), LIMIT), -1);
  cluster.start();
  ASSERT_EQ(client.attach(), 0);
  EXPECT_EQ(client.repeat(), 0);
  EXPECT_EQ(client.make("a"), EEXIST);
}

}  // namespace
}  // namespace cairn
