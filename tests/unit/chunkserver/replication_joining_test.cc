// Members that restart, are left out, join and are in sync again, under a scripted master.
#include "tests/unit/chunkserver/replication_world.h"

namespace cairn::replication_test {
namespace {

constexpr uint32_t BLOCK = BLOCK_BYTES;

TEST(ReplicationJoining, aRestartIsSeenInTheVerifiers) {
  ReplicationWorld w(5);
  w.startThree();
  Answer before = w.write("c1", 1, 0, w.bytes(1, BLOCK));
  w.kill("c2");
  w.start("c2");
  w.master.admit("c2");
  w.master.setAll({"c1", "c3"}, {"c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitCaughtUp("c2"));
  w.master.setAll({"c1", "c3", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c2"));
  Answer after = w.sync("c1", 1);
  expectOk(after);
  auto c1 = w.master.volumeOf("c1"), c2 = w.master.volumeOf("c2");
  EXPECT_EQ(before.verifiers[c1], after.verifiers[c1]);
  EXPECT_NE(before.verifiers[c2], after.verifiers[c2]);
}

// The others may have lost meanwhile what it had acknowledged with them, and then it loses that too when it joins.
TEST(ReplicationJoining, aGapInBeingAMemberIsSeenInTheVerifiers) {
  ReplicationWorld w(218);
  w.startThree();
  Answer before = w.write("c1", 1, 0, w.bytes(1, BLOCK));
  w.master.setAll({"c1", "c3"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c1"));
  w.master.setAll({"c1", "c3"}, {"c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitCaughtUp("c2"));
  w.master.setAll({"c1", "c3", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c2"));
  auto c1 = w.master.volumeOf("c1"), c2 = w.master.volumeOf("c2");
  for (Answer after : {w.sync("c1", 1), w.write("c1", 1, 0, w.bytes(1, BLOCK))}) {
    expectOk(after);
    EXPECT_EQ(before.verifiers[c2], after.verifiers[c2]);
    EXPECT_LT(before.since[c2], after.since[c2]);
    EXPECT_EQ(before.since[c1], after.since[c1]) << "it was there all the time";
  }
}

TEST(ReplicationJoining, aJoinerTakesForwardsWhileItFetchesAndMissesNothing) {
  for (uint64_t seed = 200; seed < 215; ++seed) {
    SCOPED_TRACE(seed);
    ReplicationWorld w(seed);
    w.startThree();
    std::map<uint64_t, Bytes> expected;
    for (uint64_t object = 1; object <= 12; ++object) {
      expected[object] = w.bytes(object, 8 * BLOCK);
      expectOk(w.write("c1", object, 0, expected[object], object % 3 == 0));
    }
    w.kill("c3");
    w.master.setAll({"c1", "c2"});
    w.master.publish();
    ASSERT_TRUE(w.awaitReady("c1"));
    auto random = w.world.random("test");
    auto overwrite = [&](uint64_t object) {
      Bytes piece = w.bytes(random->next(), 2 * BLOCK);
      uint32_t offset = static_cast<uint32_t>(random->below(6)) * BLOCK;
      std::copy(piece.begin(), piece.end(), expected[object].begin() + offset);
      return w.sendWrite("c1", object, offset, piece);
    };
    for (int i = 0; i < 6; ++i) {
      expectOk(w.world.await(overwrite(1 + random->below(12)), PATIENCE));
    }
    w.start("c3");
    w.master.admit("c3");
    w.master.setAll({"c1", "c2"}, {"c3"});
    w.master.publish();
    while (!w.awaitReady("c1")) {
    }
    // Writes go on while it catches up.
    for (int i = 0; i < 30; ++i) {
      std::vector<kj::Promise<Answer>> some;
      for (int j = 0; j < 3; ++j) {
        some.push_back(overwrite(1 + random->below(12)));
      }
      for (auto& write : some) {
        expectOk(w.world.await(kj::mv(write), PATIENCE));
      }
    }
    ASSERT_TRUE(w.awaitCaughtUp("c3"));
    for (int i = 0; i < 5; ++i) {
      expectOk(w.world.await(overwrite(1 + random->below(12)), PATIENCE));
    }
    EXPECT_NE(wire::Verdict::OK, w.read("c3", 1, 0, BLOCK).verdict) << "a joiner is never read";
    w.master.setAll({"c3", "c1", "c2"});
    w.master.publish();
    ASSERT_TRUE(w.awaitReady("c3"));
    for (auto& [object, bytes] : expected) {
      expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, bytes);
    }
  }
}

// Several fetchers of a shard wait for the throttle at once, each for a chunk of its own.
TEST(ReplicationJoining, aSetRateIsUsed) {
  constexpr uint64_t OBJECTS = 28, BYTES = 64 * BLOCK, MIB = 1 << 20;
  ReplicationWorld w(219);
  w.repairMibPerSecond = 1;
  w.startThree();
  w.master.setAll({"c1", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c1"));
  for (uint64_t object = 1; object <= OBJECTS; ++object) {
    expectOk(w.write("c1", object, 0, w.bytes(object, BYTES)));
  }
  Nanos begun = w.world.clock().monotonic();
  w.master.setAll({"c1", "c2"}, {"c3"});
  w.master.publish();
  ASSERT_TRUE(w.awaitCaughtUp("c3"));
  double seconds = static_cast<double>(w.world.clock().monotonic() - begun) / static_cast<double>(SECOND);
  double wanted = static_cast<double>(OBJECTS * BYTES) / static_cast<double>(MIB);
  EXPECT_LT(seconds, 1.1 * wanted);
  EXPECT_GT(seconds, 0.8 * wanted) << "it is more than that";
}

// It acknowledges each forward long after the client has its answer.
TEST(ReplicationJoining, aJoinerSlowerThanTheOthersCatchesUp) {
  ReplicationWorld w(216);
  w.startThree();
  for (uint64_t object = 1; object <= 12; ++object) {
    expectOk(w.write("c1", object, 0, w.bytes(object, 4 * BLOCK)));
  }
  w.kill("c3");
  w.master.setAll({"c1", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c1"));
  w.world.network().setDelay("c1", "c3", {20 * MILLISECOND, 25 * MILLISECOND});
  w.start("c3");
  w.master.admit("c3");
  w.master.setAll({"c1", "c2"}, {"c3"});
  w.master.publish();
  for (uint64_t i = 0; i < 200; ++i) {
    expectOk(w.write("c1", 1 + i % 12, 0, w.bytes(1 + i % 12, BLOCK)));
  }
  ASSERT_TRUE(w.awaitCaughtUp("c3"));
  w.master.setAll({"c3", "c1", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c3"));
  for (uint64_t object = 1; object <= 12; ++object) {
    Bytes bytes = w.bytes(object, 4 * BLOCK);
    Bytes over = w.bytes(object, BLOCK);
    std::copy(over.begin(), over.end(), bytes.begin());
    expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, bytes);
  }
}

TEST(ReplicationJoining, aJoinerWithAFragmentOrLeftoversEndsEqual) {
  ReplicationWorld w(6);
  w.startThree();
  for (uint64_t object = 1; object <= 8; ++object) {
    expectOk(w.write("c1", object, 0, w.bytes(object, 4 * BLOCK), true));
  }
  w.powerCut("c3");
  w.master.setAll({"c1", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c1"));
  expectOk(w.write("c1", 1, 0, w.bytes(50, BLOCK)));
  w.master.reclaim.push_back({1, ObjectId{2}});
  ASSERT_TRUE(w.until([&] { return !w.master.servers.at("c1").done.empty(); }));
  w.master.reclaim.clear();
  w.start("c3");
  w.master.admit("c3");
  w.master.setAll({"c1", "c2"}, {"c3"});
  w.master.publish();
  w.world.runFor(3 * MILLISECOND);
  w.powerCut("c3");  // in the middle of catching up
  w.start("c3");
  w.master.admit("c3");
  w.master.setAll({"c1", "c2"}, {"c3"});
  w.master.publish();
  ASSERT_TRUE(w.awaitCaughtUp("c3"));
  w.master.setAll({"c3", "c1", "c2"});
  w.master.publish();
  ASSERT_TRUE(w.awaitReady("c3"));
  Bytes first = w.bytes(1, 4 * BLOCK);
  Bytes piece = w.bytes(50, BLOCK);
  std::copy(piece.begin(), piece.end(), first.begin());
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, first);
  expectEverywhere(w, {"c1", "c2", "c3"}, 2, 0, Bytes(4 * BLOCK));
  for (uint64_t object = 3; object <= 8; ++object) {
    expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, w.bytes(object, 4 * BLOCK));
  }
}

// Its dirty marks outlive the others', for it never runs long enough to clear them.
TEST(ReplicationJoining, oneThatComesAndGoesTakesOverWhatItMissedAndNoMore) {
  ReplicationWorld w(7);
  w.startThree();
  for (uint64_t object = 1; object <= 8; ++object) {
    expectOk(w.write("c1", object, 0, w.bytes(object, 32 * BLOCK), true));
  }
  w.world.runFor(6 * SECOND);
  for (uint64_t round = 1; round <= 5; ++round) {
    w.kill("c3");
    w.master.setAll({"c1", "c2"});
    w.master.publish();
    ASSERT_TRUE(w.awaitReady("c1"));
    expectOk(w.write("c1", 100 + round, 0, w.bytes(100 + round, 32 * BLOCK), true));
    w.world.runFor(4 * SECOND);
    w.start("c3");
    w.master.admit("c3");
    w.master.setAll({"c1", "c2"}, {"c3"});
    w.master.publish();
    ASSERT_TRUE(w.awaitCaughtUp("c3"));
    w.master.setAll({"c1", "c2", "c3"});
    w.master.publish();
    ASSERT_TRUE(w.awaitReady("c3"));
    w.world.runFor(4 * SECOND);
    EXPECT_EQ(w.master.servers.at("c3").takenOverBytes, 32 * BLOCK) << "round " << round;
  }
  for (uint64_t object = 1; object <= 8; ++object) {
    expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, w.bytes(object, 32 * BLOCK));
  }
}

TEST(ReplicationJoining, aRestartedServerServesNothingBeforeTheMapKnowsIt) {
  ReplicationWorld w(16);
  w.startThree();
  expectOk(w.write("c1", 1, 0, w.bytes(1, BLOCK)));
  w.kill("c1");
  w.start("c1");  // the map still names its earlier incarnation as primary
  w.world.runFor(SECOND);
  EXPECT_FALSE(w.read("c1", 1, 0, BLOCK).ok());
  EXPECT_FALSE(w.write("c1", 1, 0, w.bytes(2, BLOCK)).ok());
}

TEST(ReplicationJoining, aRestartedServerClaimsNoWorkOfItsEarlierProcess) {
  ReplicationWorld w(217);
  w.startThree();
  Bytes bytes = w.bytes(1, 8 * BLOCK);
  expectOk(w.write("c1", 1, 0, bytes, true));
  w.kill("c1");
  w.start("c1");  // the map still names its earlier incarnation as primary
  w.master.cuts.push_back({7, ObjectId{1}, 1, 5 * BLOCK, 3});
  w.world.runFor(2 * SECOND);
  EXPECT_TRUE(w.master.servers.at("c1").done.empty()) << "claimed a cut that nobody has made";
  w.master.admit("c1");
  w.master.setAll({"c1", "c2", "c3"});
  w.master.publish();
  ASSERT_TRUE(w.until([&] { return !w.master.servers.at("c1").done.empty(); }));
  w.generation = 1;
  std::fill(bytes.begin() + 5 * BLOCK, bytes.end(), 0);
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, bytes);
}

}  // namespace
}  // namespace cairn::replication_test
