// Copies that move or are mended while some of them are bad: the last good one is never left behind.
#include "chunkserver/replication/merge.h"
#include "chunkserver/store/chunk_format.h"
#include "tests/unit/chunkserver/replication_world.h"

namespace cairn::replication_test {
namespace {

constexpr uint32_t BLOCKS = 48;
constexpr uint32_t BYTES = BLOCKS * BLOCK_BYTES;

struct MendingWorld : ReplicationWorld {
  explicit MendingWorld(uint64_t seed) : ReplicationWorld(seed) { startThree(); }

  void members(const std::vector<std::string>& inSync, const std::vector<std::string>& joining = {}) {
    master.setAll(inSync, joining);
    master.publish();
    ASSERT_TRUE(awaitReady(inSync.front()));
  }
  void joins(const std::vector<std::string>& inSync, const std::string& joiner) {
    members(inSync, {joiner});
    ASSERT_TRUE(awaitCaughtUp(joiner));
  }
  void settle() { world.runFor(20 * SECOND); }  // no dirty mark is left
  void rot(const std::string& server, uint64_t object, uint32_t block) {
    auto path = chunkPath({shardOf(object), {ObjectId{object}, 0}});
    ASSERT_TRUE(disk(server).rotAt(path, blockOffset(DEFAULT_CHUNK_BITS, block) + 5));
  }
  Bytes contents(uint64_t object) { return bytes(object, BYTES); }
};

TEST(ReplicationMending, aMoveAwayFromTheLastGoodCopyMendsFirst) {
  MendingWorld w(301);
  w.members({"c1", "c2"});
  for (uint64_t object = 1; object <= 4; ++object) {
    expectOk(w.write("c1", object, 0, w.contents(object), true));
  }
  w.settle();
  for (uint64_t object = 1; object <= 4; ++object) {
    w.rot("c1", object, 7 * static_cast<uint32_t>(object));  // nobody has noticed
  }
  w.joins({"c1", "c2"}, "c3");
  w.members({"c3"});
  for (uint64_t object = 1; object <= 4; ++object) {
    expectEverywhere(w, {"c3"}, object, 0, w.contents(object));
  }
}

// Only the joining one's old copy has the block whole.
TEST(ReplicationMending, aJoinerKeepsWhatIsBadEverywhereElse) {
  MendingWorld w(302);
  expectOk(w.write("c1", 1, 0, w.contents(1), true));
  w.settle();
  w.members({"c1", "c2"});
  Bytes expected = w.contents(1);
  Bytes piece = w.bytes(50, BLOCK_BYTES);
  std::copy(piece.begin(), piece.end(), expected.begin());
  expectOk(w.write("c1", 1, 0, piece, true));
  w.settle();
  w.rot("c1", 1, 9);
  w.rot("c2", 1, 9);
  w.joins({"c1", "c2"}, "c3");
  w.members({"c1", "c2", "c3"});
  expectEverywhere(w, {"c3"}, 1, 0, expected);
  ASSERT_TRUE(w.scrubWhole("c1"));
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, expected);
}

// What is bad in every copy is handed on as bad, and the join ends all the same.
TEST(ReplicationMending, aBlockThatNobodyHasHoldsNoJoinUp) {
  MendingWorld w(303);
  w.members({"c1", "c2"});
  expectOk(w.write("c1", 1, 0, w.contents(1), true));
  w.settle();
  w.rot("c1", 1, 9);
  w.rot("c2", 1, 9);
  w.joins({"c1", "c2"}, "c3");
  w.members({"c3"});
  Answer answer = w.read("c3", 1, 0, BYTES);
  EXPECT_FALSE(answer.ok() && answer.intact);
  Answer rest = w.read("c3", 1, 10 * BLOCK_BYTES, 20 * BLOCK_BYTES);
  expectOk(rest);
  EXPECT_TRUE(rest.intact);
}

TEST(ReplicationMending, aChunkThatIsBeingMendedCanBeReadElsewhere) {
  MendingWorld w(304);
  expectOk(w.write("c1", 1, 0, w.contents(1), true));
  w.settle();
  w.rot("c1", 1, 9);
  Nanos now = w.world.clock().monotonic();
  w.disk("c3").dropCache();
  w.disk("c3").stallUntil(now + 20 * SECOND);  // the mending waits for its look at its copy
  w.reportBad("c1", 1, {9});
  w.world.runFor(500 * MILLISECOND);
  Answer answer = w.read("c2", 1, 0, BYTES);
  EXPECT_LT(w.world.clock().monotonic() - now, 2 * SECOND);
  EXPECT_TRUE(answer.ok()) << "the copy of c2 waited for the mending: " << answer.why;
  EXPECT_TRUE(answer.intact && answer.data == w.contents(1));
  Answer others = w.read("c1", 1, 10 * BLOCK_BYTES, BLOCK_BYTES);
  EXPECT_TRUE(others.ok()) << "the other blocks of the primary waited for the mending: " << others.why;
  w.world.runFor(30 * SECOND);
  expectEverywhere(w, {"c1", "c2", "c3"}, 1, 0, w.contents(1));
}

TEST(ReplicationMending, aRemovedServerThatRunsOnEndsAndSaysWhatToDo) {
  MendingWorld w(305);
  w.members({"c1", "c2"});
  VolumeNumber old = w.master.volumeOf("c3");
  VolumeRecord record = *w.master.map.volume(old);
  w.master.map.volumes.erase(old);
  record.number = VolumeNumber{77};
  w.master.map.volumes[record.number] = record;
  w.master.publish();
  ASSERT_TRUE(w.until([&] { return !w.wantsToEnd["c3"].empty(); }));
  EXPECT_NE(w.wantsToEnd["c3"].find("start it again"), std::string::npos) << w.wantsToEnd["c3"];
  EXPECT_TRUE(w.wantsToEnd["c1"].empty());
  w.stop("c3");
}

// ---- which copy is believed --------------------------------------------------------------------

CopyState copy(uint64_t lastEpoch, std::vector<uint64_t> sums) {
  CopyState out;
  out.present = true;
  out.lastEpoch = lastEpoch;
  out.digest = chunkDigest(0, kj::arrayPtr(sums.data(), sums.size()));
  out.sums = std::move(sums);
  return out;
}

TEST(ChooseNewest, aLostWriteOnThePrimaryDoesNotWin) {
  EXPECT_EQ(chooseNewest({copy(4, {5, 6}), copy(7, {5, 9})}), 1u) << "its last change was earlier";
  EXPECT_EQ(chooseNewest({copy(7, {5, 6}), copy(7, {5, 9}), copy(7, {5, 9})}), 1u) << "most have another";
  EXPECT_EQ(chooseNewest({copy(7, {5, 9}), copy(4, {5, 6}), copy(4, {5, 6})}), 0u) << "most have lost the last write";
}

TEST(ChooseNewest, thePrimaryCountsWhenNothingTells) {
  EXPECT_EQ(chooseNewest({copy(7, {5, 6}), copy(7, {5, 9})}), 0u);
  EXPECT_EQ(chooseNewest({copy(7, {5, 6}), copy(7, {5, 6}), copy(7, {5, 6})}), 0u);
  EXPECT_EQ(chooseNewest({copy(7, {5, 6}), copy(7, {5, 9}), copy(7, {5, 10})}), 0u);
}

TEST(ChooseNewest, lostChecksumsAreNoOpinion) {
  auto damaged = copy(7, {5, LOST_SUM});
  damaged.bad = {1};
  EXPECT_EQ(chooseNewest({copy(7, {5, 6}), damaged, copy(7, {5, 9})}), 0u);
  EXPECT_EQ(chooseNewest({damaged, copy(7, {5, 9}), copy(7, {5, 9})}), 1u);
  EXPECT_EQ(chooseNewest({copy(7, {4, 9}), damaged, copy(7, {5, 9})}), 2u) << "its other block is as most have it";
  EXPECT_EQ(chooseNewest({damaged, damaged}), 0u);
}

TEST(ChooseNewest, aChunkIsGoneWhenMostDoNotHaveIt) {
  CopyState absent;
  EXPECT_EQ(chooseNewest({absent, copy(7, {5})}), 1u) << "what is lost for good must be more than a guess";
  EXPECT_EQ(chooseNewest({copy(7, {5}), absent, absent}), 1u);
  EXPECT_EQ(chooseNewest({absent, copy(7, {5}), copy(7, {5})}), 1u);
}

}  // namespace
}  // namespace cairn::replication_test
