// Small clusters of real chunkservers under a scripted master.
#include "tests/unit/chunkserver/replication_world.h"

namespace cairn::replication_test {
namespace {

constexpr uint32_t BLOCK = BLOCK_BYTES;

TEST(ReplicationCluster, aWriteIsOnAllMembersWhenAnswered) {
  ReplicationWorld w(1);
  w.startThree();
  for (uint64_t object = 1; object <= 20; ++object) {
    Bytes bytes = w.bytes(object, 3 * BLOCK + 100);
    Answer answer = w.write("c1", object, 0, bytes, object % 2 == 0);
    expectOk(answer);
    EXPECT_EQ(3u, answer.verifiers.size());
    EXPECT_EQ(4 * BLOCK, answer.allocatedDelta);
    expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, bytes);
  }
  Answer synced = w.sync("c1", 1);
  expectOk(synced);
  EXPECT_EQ(3u, synced.verifiers.size());
}

TEST(ReplicationCluster, onlyThePrimaryTakesWritesAndStaleEpochsAreRefused) {
  ReplicationWorld w(2);
  w.startThree();
  EXPECT_EQ(wire::Verdict::NOT_PRIMARY, w.write("c2", 1, 0, w.bytes(1, BLOCK)).verdict);
  auto record = w.master.map.shards[w.shardOf(1)];
  w.master.map.shards[w.shardOf(1)].epoch = Epoch{0};
  EXPECT_EQ(wire::Verdict::STALE_EPOCH, w.write("c1", 1, 0, w.bytes(1, BLOCK)).verdict);
  w.master.map.shards[w.shardOf(1)] = record;
  expectOk(w.write("c1", 1, 0, w.bytes(1, BLOCK)));
}

TEST(ReplicationCluster, aMembersCrashStallsTheWriteUntilTheNextEpochCompletesIt) {
  ReplicationWorld w(3);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, 2 * BLOCK)));
  w.kill("c3");
  Bytes bytes = w.bytes(2, 2 * BLOCK);
  Nanos began = w.world.clock().monotonic();
  bool answered = false;
  auto write = w.sendWrite("c1", 1, 0, bytes)
                   .then([&](Answer answer) {
                     answered = true;
                     return answer;
                   })
                   .eagerlyEvaluate(nullptr);
  // The primary says at once whom it can't reach.
  ServerId dead = w.master.servers.at("c3").record.id;
  ASSERT_TRUE(w.until([&] {
    auto& suspects = w.master.servers.at("c1").suspects;
    return std::find(suspects.begin(), suspects.end(), dead) != suspects.end();
  }));
  EXPECT_LT(w.world.clock().monotonic() - began, 1500 * MILLISECOND);
  EXPECT_FALSE(answered);
  w.master.setAll({"c1", "c2"});
  w.master.publish();
  Answer answer = w.world.await(kj::mv(write), PATIENCE);
  expectOk(answer);
  EXPECT_EQ(2u, answer.verifiers.size());
  EXPECT_EQ(0u, answer.verifiers.count(w.master.volumeOf("c3")));
  expectEverywhere(w, {"c1", "c2"}, 1, 0, bytes);
}

TEST(ReplicationCluster, aWriteThatNobodyCanCompleteIsGivenBackInTime) {
  ReplicationWorld w(4);
  w.startThree();
  w.kill("c2");
  Nanos began = w.world.clock().monotonic();
  Answer answer = w.write("c1", 1, 0, w.bytes(2, BLOCK));
  EXPECT_EQ(wire::Verdict::NOT_READY, answer.verdict) << answer.why;
  EXPECT_LT(w.world.clock().monotonic() - began, 7 * SECOND);
  // A read must not show what may yet be lost.
  EXPECT_EQ(wire::Verdict::NOT_READY, w.read("c1", 1, 0, BLOCK).verdict);
  w.master.setAll({"c1", "c3"});
  w.master.publish();
  expectEverywhere(w, {"c1", "c3"}, 1, 0, w.bytes(2, BLOCK));
}

TEST(ReplicationCluster, afterThePrimarysCrashTheMembersAreMadeEqualBeforeAnyoneReads) {
  for (uint64_t seed = 10; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    ReplicationWorld w(seed);
    w.startThree();
    Bytes old = w.bytes(seed, 4 * BLOCK);
    expectOk(w.write("c1", 1, 0, old, true));
    auto random = w.world.random("test");
    // The primary dies somewhere in the middle of a write.
    auto write = w.sendWrite("c1", 1, 0, w.bytes(seed + 1000, 4 * BLOCK));
    w.world.runFor(random->between(0, 2 * MILLISECOND));
    w.powerCut("c1");
    w.master.setAll({"c2", "c3"});
    w.master.publish();
    ASSERT_TRUE(w.awaitReady("c2"));
    ASSERT_TRUE(w.awaitReady("c3"));
    Answer two, three;
    w.until([&] { return (two = w.read("c2", 1, 0, 4 * BLOCK)).ok(); });
    w.until([&] { return (three = w.read("c3", 1, 0, 4 * BLOCK)).ok(); });
    EXPECT_TRUE(two.intact && three.intact);
    EXPECT_TRUE(two.data == three.data);
    EXPECT_TRUE(two.data == old || two.data == w.bytes(seed + 1000, 4 * BLOCK));
  }
}

TEST(ReplicationCluster, fsyncedBytesSurviveThePowerCutOfAllAndTornBlocksBecomeOneVersion) {
  uint64_t adopted = 0;
  for (uint64_t seed = 100; seed < 140; ++seed) {
    SCOPED_TRACE(seed);
    ReplicationWorld w(seed);
    w.startThree();
    Bytes synced = w.bytes(seed, 40 * BLOCK);
    expectOk(w.write("c1", 1, 0, synced, true));
    // The second half is being overwritten when the power goes.
    auto random = w.world.random("test");
    expectOk(w.write("c1", 1, 20 * BLOCK, w.bytes(seed + 1, 20 * BLOCK)));
    auto late = w.sendWrite("c1", 1, 20 * BLOCK, w.bytes(seed + 2, 20 * BLOCK));
    w.world.runFor(random->between(0, 3 * MILLISECOND));
    for (auto& name : {"c1", "c2", "c3"}) {
      w.powerCut(name);
    }
    w.startAll({"c1", "c2", "c3"});
    for (auto& name : {"c1", "c2", "c3"}) {
      w.master.admit(name);
    }
    w.master.setAll({"c2", "c1", "c3"});
    w.master.publish();
    for (auto& name : {"c1", "c2", "c3"}) {
      ASSERT_TRUE(w.awaitReady(name)) << name;
    }
    Answer first = w.read("c1", 1, 0, 40 * BLOCK);
    ASSERT_TRUE(first.ok()) << first.why;
    EXPECT_TRUE(first.intact);
    EXPECT_TRUE(std::equal(synced.begin(), synced.begin() + 20 * BLOCK, first.data.begin()));
    for (auto& name : {"c2", "c3"}) {
      Answer other = w.read(name, 1, 0, 40 * BLOCK);
      ASSERT_TRUE(other.ok()) << other.why;
      EXPECT_TRUE(other.intact);
      EXPECT_TRUE(other.data == first.data) << name;
    }
    w.world.runFor(SECOND);
    adopted += w.master.servers.at("c2").adoptedBlocks;
  }
  EXPECT_GT(adopted, 0u);  // the case that this is about has happened
}

TEST(ReplicationCluster, aFencedSessionsLateForwardIsRefusedAndUndone) {
  ReplicationWorld w(7);
  w.startThree();
  Bytes old = w.bytes(1, BLOCK);
  expectOk(w.write("c1", 1, 0, old));
  w.session = 66;
  expectOk(w.write("c1", 2, 0, w.bytes(2, BLOCK)));
  // The members learn of the eviction before the primary does.
  w.master.map.fenced.insert(SessionId{66});
  w.master.map.version = next(w.master.map.version);
  w.master.publishTo("c2");
  w.master.publishTo("c3");
  w.world.runFor(5 * MILLISECOND);
  uint64_t version = raw(w.master.map.version);
  w.master.map.version = MapVersion{version - 1};  // the client doesn't know either
  Answer answer = w.write("c1", 1, 0, w.bytes(3, BLOCK));
  EXPECT_EQ(wire::Verdict::FENCED, answer.verdict) << answer.why;
  w.session = 5;
  w.master.map.version = MapVersion{version};
  w.master.publishTo("c1");
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, old);
  w.session = 66;
  EXPECT_EQ(wire::Verdict::FENCED, w.write("c1", 1, 0, w.bytes(3, BLOCK)).verdict);
  ASSERT_TRUE(w.until([&] { return raw(w.master.servers.at("c1").fencesDrained) == version; }));
}

TEST(ReplicationCluster, fencesAreDrainedOnlyWhenAcceptedMutationsHaveEnded) {
  ReplicationWorld w(8);
  w.startThree();
  w.kill("c2");
  w.session = 66;
  auto write = w.sendWrite("c1", 1, 0, w.bytes(3, BLOCK));
  w.world.runFor(100 * MILLISECOND);
  w.master.map.fenced.insert(SessionId{66});
  w.master.publish();
  MapVersion fencedAt = w.master.map.version;
  w.world.runFor(2 * SECOND);
  EXPECT_EQ(fencedAt, w.master.servers.at("c1").mapVersion);
  EXPECT_LT(w.master.servers.at("c1").fencesDrained, fencedAt);
  w.master.setAll({"c1", "c3"});
  w.master.publish();
  EXPECT_EQ(wire::Verdict::FENCED, w.world.await(kj::mv(write), PATIENCE).verdict);
  EXPECT_TRUE(w.until([&] { return w.master.servers.at("c1").fencesDrained == w.master.map.version; }));
}

TEST(ReplicationCluster, anIsolatedMemberStopsServingBeforeItIsReplaced) {
  ReplicationWorld w(9);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, BLOCK)));
  expectEverywhere(w, {"c3"}, 1, 0, w.bytes(1, BLOCK));
  // c3 can reach neither the master nor its peers; a client beside it still reaches it.
  for (auto& other : {"m1", "c1", "c2"}) {
    w.world.network().partition("c3", other);
  }
  w.world.runFor(1400 * MILLISECOND);
  w.master.setAll({"c1", "c2"});
  auto stale = w.master.map;
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c1"));
  expectOk(w.write("c1", 1, 0, w.bytes(2, BLOCK)));
  Answer answer = w.read("c3", 1, 0, BLOCK);
  EXPECT_FALSE(answer.ok());
}

TEST(ReplicationCluster, aServerWaitsForTheMapThatTheRequestKnows) {
  ReplicationWorld w(11);
  w.startThree();
  w.master.map.version = next(w.master.map.version);
  auto write = w.sendWrite("c1", 1, 0, w.bytes(1, BLOCK));
  EXPECT_FALSE(w.until([&] { return write.poll(w.world.waitScope()); }, 500 * MILLISECOND));
  w.master.publishTo("c1");
  expectOk(w.world.await(kj::mv(write), PATIENCE));
}

TEST(ReplicationCluster, belowMinimumCopiesWritesWaitAndReadsGoOn) {
  ReplicationWorld w(12);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, BLOCK)));
  w.kill("c2");
  w.kill("c3");
  w.master.setAll({"c1"});
  w.master.publish();
  expectEverywhere(w, {"c1"}, 1, 0, w.bytes(1, BLOCK));
  EXPECT_EQ(wire::Verdict::NOT_READY, w.write("c1", 1, 0, w.bytes(2, BLOCK)).verdict);
  expectEverywhere(w, {"c1"}, 1, 0, w.bytes(1, BLOCK));
}

TEST(ReplicationCluster, forwardsAreTakenInOrderWhateverTheNetworkDoes) {
  for (uint64_t seed = 300; seed < 310; ++seed) {
    SCOPED_TRACE(seed);
    ReplicationWorld w(seed);
    w.startThree();
    auto random = w.world.random("test");
    std::vector<kj::Promise<Answer>> writes;
    Bytes last;
    for (int i = 0; i < 40; ++i) {
      last = w.bytes(seed * 100 + static_cast<uint64_t>(i), BLOCK + random->below(3) * 1000);
      last.resize(3 * BLOCK);
      writes.push_back(w.sendWrite("c1", 1, 0, last));
      if (random->chance(200'000)) {
        w.world.network().reset("c1", random->chance(500'000) ? "c2" : "c3");
      }
      w.world.runFor(random->between(0, 300 * MICROSECOND));
    }
    for (auto& write : writes) {
      expectOk(w.world.await(kj::mv(write), PATIENCE));
    }
    expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, last);
  }
}

TEST(ReplicationCluster, punchAndCutsAndReclaimAreReplicated) {
  ReplicationWorld w(13);
  w.startThree();
  Bytes bytes = w.bytes(1, 8 * BLOCK);
  expectOk(w.write("c1", 1, 0, bytes));
  Answer punched = w.punch("c1", 1, BLOCK, 2 * BLOCK);
  expectOk(punched);
  EXPECT_EQ(-2 * static_cast<int64_t>(BLOCK), punched.allocatedDelta);
  std::fill(bytes.begin() + BLOCK, bytes.begin() + 3 * BLOCK, 0);
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, bytes);

  // A cut: dead bytes read as zeros at once, and are gone for good when the work is done.
  w.generation = 1;
  w.cuts = {{1, 5 * BLOCK}};
  std::fill(bytes.begin() + 5 * BLOCK, bytes.end(), 0);
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, bytes);
  w.master.cuts.push_back({7, ObjectId{1}, 1, 5 * BLOCK, 3});
  auto done = [&](uint64_t id) {
    return w.until([&] {
      auto& list = w.master.servers.at("c1").done;
      return std::find(list.begin(), list.end(), id) != list.end();
    });
  };
  ASSERT_TRUE(done(7));
  w.master.cuts.clear();
  w.cuts.clear();
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, bytes);
  w.generation = 0;
  EXPECT_EQ(wire::Verdict::STALE_LAYOUT, w.write("c1", 1, 0, w.bytes(1, BLOCK)).verdict);
  w.generation = 1;

  w.master.reclaim.push_back({8, ObjectId{1}});
  ASSERT_TRUE(done(8));
  w.master.reclaim.clear();
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, Bytes(8 * BLOCK));
}

TEST(ReplicationCluster, aBadBlockIsReplacedFromAGoodCopy) {
  for (auto& victim : {"c1", "c3"}) {
    SCOPED_TRACE(victim);
    ReplicationWorld w(14);
    w.startThree();
    Bytes bytes = w.bytes(1, 40 * BLOCK);
    expectOk(w.write("c1", 1, 0, bytes, true));
    w.world.runFor(15 * SECOND);
    auto rotten = w.disk(victim).rot(1, [](const std::string& path) { return path.rfind("chunks/", 0) == 0; });
    ASSERT_EQ(1u, rotten.size());
    w.disk(victim).dropCache();
    Answer answer = w.read(victim, 1, 0, 40 * BLOCK);
    ASSERT_TRUE(answer.ok());
    if (answer.intact) {
      continue;  // the bit was not in a block's bytes
    }
    std::vector<uint32_t> all;
    for (uint32_t block = 0; block < 40; ++block) {
      all.push_back(block);
    }
    w.reportBad(victim, 1, all);
    ASSERT_TRUE(w.until([&] {
      Answer now = w.read(victim, 1, 0, 40 * BLOCK);
      return now.ok() && now.intact && now.data == bytes;
    }));
  }
}

TEST(ReplicationCluster, anOrderlyStopLosesNothingAndHurtsNobody) {
  ReplicationWorld w(15);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, 5 * BLOCK)));
  for (auto& name : {"c1", "c2", "c3"}) {
    w.stop(name);
    EXPECT_TRUE(w.master.servers.at(name).left);
  }
  w.startAll({"c1", "c2", "c3"});
  for (auto& name : {"c1", "c2", "c3"}) {
    w.master.admit(name);
  }
  w.master.setAll({"c1", "c2", "c3"});
  w.master.publish();
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, w.bytes(1, 5 * BLOCK));
}

TEST(ReplicationCluster, aFullMemberUndoesTheWriteEverywhere) {
  ReplicationWorld w(17);
  w.startThree();
  Bytes bytes = w.bytes(1, 40 * BLOCK);
  expectOk(w.write("c1", 1, 0, bytes, true));
  w.disk("c2").setCapacity(1 << 20);
  w.world.runFor(3 * SECOND);
  Answer answer = w.write("c1", 1, 40 * BLOCK, w.bytes(2, 500 * BLOCK));
  EXPECT_EQ(wire::Verdict::NO_SPACE, answer.verdict) << answer.why;
  bytes.resize(540 * BLOCK);
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, bytes);
}

// Refused by a member, and not yet undone when the epoch changes: the reconciliation undoes it.
TEST(ReplicationCluster, aWriteThatReconciliationUndoesIsNotAcknowledged) {
  ReplicationWorld w(219);
  w.startThree();
  Bytes bytes = w.bytes(1, 40 * BLOCK);
  expectOk(w.write("c1", 1, 0, bytes, true));
  w.disk("c2").setCapacity(1 << 20);
  w.world.runFor(3 * SECOND);
  w.world.network().partition("c1", "c3");
  auto writing = w.sendWrite("c1", 1, 40 * BLOCK, w.bytes(2, 500 * BLOCK));
  w.world.runFor(200 * MILLISECOND);
  w.master.setAll({"c1", "c2"});
  w.master.publish();
  Answer answer = w.world.await(kj::mv(writing), PATIENCE);
  EXPECT_NE(wire::Verdict::OK, answer.verdict) << "acknowledged, and then undone";
  bytes.resize(540 * BLOCK);
  expectEverywhere(w, {"c1", "c2"}, 1, 0, bytes);
}

TEST(ReplicationCluster, aFailedVolumeIsReportedAndServesNoMore) {
  ReplicationWorld w(18);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, BLOCK)));
  SimTrip trip;
  trip.countdown = 1;
  trip.forGood = true;
  w.disk("c1").setTrip(trip);
  auto write = w.sendWrite("c1", 1, 0, w.bytes(2, BLOCK), true);
  ASSERT_TRUE(w.until([&] {
    for (auto& [id, why] : w.master.servers.at("c1").failed) {
      if (!why.empty()) {
        return true;
      }
    }
    return false;
  }));
  w.master.setAll({"c2", "c3"});
  w.master.publish();
  EXPECT_NE(wire::Verdict::OK, w.world.await(kj::mv(write), PATIENCE).verdict);
  ASSERT_TRUE(w.awaitReady("c2"));
  expectOk(w.write("c2", 1, 0, w.bytes(3, BLOCK)));
  expectEverywhere(w, {"c2", "c3"}, 1, 0, w.bytes(3, BLOCK));
}

TEST(ReplicationCluster, theSameSeedGivesTheSameTrace) {
  auto run = [](uint64_t seed) {
    ReplicationWorld w(seed);
    w.startThree();
    for (uint64_t object = 1; object <= 10; ++object) {
      w.write("c1", object, 0, w.bytes(object, 3 * BLOCK), object % 2 == 0);
    }
    w.kill("c2");
    w.master.setAll({"c3", "c1"});
    w.master.publish();
    w.awaitReady("c3");
    return w.world.traceHash();
  };
  EXPECT_EQ(run(21), run(21));
  EXPECT_NE(run(21), run(22));
}

}  // namespace
}  // namespace cairn::replication_test
