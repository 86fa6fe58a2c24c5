// What may be served, by whom, and when: reconciliation, cuts, joiners, fences, leases. Each scenario holds messages
// back or takes servers away at the very moment that its rule is for, and asks servers one by one.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr uint64_t BLOCKS = 32;

// A cluster with a file of BLOCKS blocks, written and synced by k1, and who keeps its first chunk.
struct Stage {
  explicit Stage(uint64_t seed) : world(seed), cluster(world), probe(cluster) {
    cluster.start();
    cluster.mount("k1");
    file = kj::heap<TestFile>(cluster, k1(), "f", 1);
    file->write(0, BLOCKS);
    file->sync();
    attributes = file->attributes();
    learn();
    // Backups serve a chunk only once they know that what was written of it is complete.
    for (auto& server : cluster.servers()) {
      KJ_REQUIRE(readWhenServed(server, 0, SECOND).ok(), "a member doesn't serve", server);
    }
  }
  Client& k1() { return cluster.client("k1"); }
  void learn() {
    shard = cluster.shardOf(attributes, 0);
    primary = cluster.primaryOf(shard);
    backups = cluster.backupsOf(shard);
  }
  ChunkId chunk() const { return {attributes.layout.object, 0}; }
  ProbeCopy copyAt(const std::string& server) { return probe.describe(server, shard.id, chunk()); }
  std::string problemOf(uint64_t block, const ProbeRead& read) {
    return file->problem(block, kj::arrayPtr(read.bytes.data(), read.bytes.size()));
  }
  // Until `server` answers a read of the block with data; at most `limit`.
  ProbeRead readWhenServed(const std::string& server, uint64_t block, Nanos limit) {
    return readWhenServed(server, attributes, block, limit);
  }
  ProbeRead readWhenServed(const std::string& server, const Attributes& as, uint64_t block, Nanos limit) {
    Nanos deadline = world.clock().monotonic() + limit;
    for (;;) {
      ProbeRead read = probe.read(server, as, block * BLOCK_BYTES, BLOCK_BYTES);
      if (read.ok() || world.clock().monotonic() >= deadline) {
        return read;
      }
      world.runFor(MILLISECOND);
    }
  }
  SessionId session() { return SessionId{k1().stats().session}; }

  World world;
  SimCluster cluster;
  Probe probe;
  kj::Own<TestFile> file;
  Attributes attributes;
  ShardRecord shard;
  std::string primary;
  std::vector<std::string> backups;
};

// A write reached one backup and not the other when the primary died, and its client with it: whoever serves first
// decides whether it took place, and all must say the same.
TEST(Consistency, ReplicasAreEqualBeforeAByteIsServed) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Stage stage(seed);
    stage.cluster.network().partition(stage.primary, stage.backups[1]);
    auto writing = stage.file->writing(5, 1).promise();
    auto flushing = stage.k1().flush(stage.file->handle()).promise();
    stage.cluster.waitFor("the write to reach one backup only", [&] {
      return stage.copyAt(stage.backups[0]).digest != stage.copyAt(stage.backups[1]).digest;
    });
    flushing = nullptr;
    writing = nullptr;
    stage.cluster.network().powerOff("k1");
    stage.cluster.powerCut(stage.primary);
    stage.cluster.waitEpochChange(stage.shard.id, stage.shard.epoch);
    stage.learn();
    std::string first = stage.primary;
    std::string second = stage.backups.at(0);
    ProbeRead one = stage.readWhenServed(first, 5, 20 * SECOND);
    ProbeRead other = stage.readWhenServed(second, 5, 20 * SECOND);
    ASSERT_TRUE(one.ok() && other.ok()) << one.why << "; " << other.why;
    EXPECT_EQ(one.bytes, other.bytes) << "members of a new epoch serve different bytes, seed " << seed;
    EXPECT_EQ(stage.probe.difference(stage.shard.id, stage.chunk()), "");
    EXPECT_EQ(stage.problemOf(5, one), "");
  }
}

// A block that k1 wrote under the layout `as` and that comes to the primary only now.
wire::Verdict writeLate(Stage& stage, const Attributes& as, uint64_t block) {
  auto bytes = kj::heapArray<kj::byte>(BLOCK_BYTES);
  fillBlock(bytes, 1, block, 1);
  auto who = Probe::As{nullptr, stage.session(), Probe::ANSWER_LIMIT};
  return stage.cluster.wait(stage.probe.write(stage.primary, as, block, kj::mv(bytes), who));
}

// Shrink, and grow again at once: zeros, whoever is asked, also while no primary has confirmed the cut, also after
// the power failed.
TEST(Consistency, NoExtendShowsBytesPastACut) {
  Stage stage(4);
  Client& k2 = stage.cluster.mount("k2");
  Attributes before = stage.attributes;
  stage.file->resize(4);
  stage.file->resize(BLOCKS);
  Attributes now = stage.file->attributes();
  for (auto& server : stage.cluster.servers()) {
    ProbeRead read = stage.readWhenServed(server, now, 6, SECOND);
    ASSERT_TRUE(read.ok()) << server << ": " << read.why;
    EXPECT_EQ(stage.problemOf(6, read), "") << "past a cut, at " << server;
  }
  EXPECT_EQ(stage.file->check(k2), "") << "past a cut";

  // A write that was sent before the cut, and comes after it: taken or not, it dies with what else the cut killed.
  writeLate(stage, before, 7);
  EXPECT_EQ(stage.file->check(k2), "") << "past a cut, after a late write";
  // Once the chunk has taken anything that knows of the cut, it takes nothing older.
  stage.file->write(2);
  stage.file->sync();
  EXPECT_NE(writeLate(stage, before, 8), wire::Verdict::OK) << "a write of before the cut was taken after a newer one";
  EXPECT_EQ(stage.file->check(k2), "") << "past a cut, after a late write and a newer one";

  // Once confirmed, the cut leaves the layout: from then on the bytes must be gone for good.
  stage.cluster.waitFor("the cut to be confirmed", [&] { return stage.file->attributes().layout.cuts.empty(); });
  for (auto& server : stage.cluster.servers()) {
    stage.cluster.powerCut(server);
  }
  for (auto& server : stage.cluster.servers()) {
    stage.cluster.restart(server);
  }
  stage.cluster.waitHealthy();
  EXPECT_EQ(stage.file->check(k2), "") << "past a cut, after a power cut";
  stage.learn();
  EXPECT_NE(writeLate(stage, before, 9), wire::Verdict::OK) << "a write of before the cut was taken long after it";
  EXPECT_EQ(stage.file->check(k2), "") << "past a cut, after all";
}

// A member returns with an old copy while its chunk is being written. It must not be read before it has caught up.
TEST(Consistency, AJoinerWithAFragmentIsNeverRead) {
  Stage stage(5);
  std::string joiner = stage.backups[0];
  stage.cluster.crash(joiner);
  stage.cluster.waitEpochChange(stage.shard.id, stage.shard.epoch);
  stage.file->write(0, BLOCKS);
  stage.file->sync();
  // Slowly, so that there is time to look.
  stage.learn();
  stage.cluster.network().setDelay(joiner, stage.primary, {200 * MILLISECOND, 250 * MILLISECOND});
  stage.cluster.restart(joiner);
  VolumeNumber volume = stage.cluster.volumeOf(joiner);
  auto record = [&]() -> ShardRecord { return stage.cluster.shardOf(stage.attributes, 0); };
  stage.cluster.waitFor("it to join", [&] { return record().isJoining(volume); });
  unsigned looks = 0;
  unsigned writes = 0;
  while (!record().isInSync(volume)) {
    ++looks;
    if (looks % 50 == 1) {
      stage.file->write(writes++ % BLOCKS);  // forwarded to a member that has an old copy, or none
      ASSERT_TRUE(stage.cluster.wait(stage.k1().flush(stage.file->handle())).ok());
    }
    uint64_t block = looks % BLOCKS;
    ProbeRead read = stage.probe.read(joiner, stage.attributes, block * BLOCK_BYTES, BLOCK_BYTES);
    ASSERT_TRUE(!read.ok() || record().isInSync(volume)) << "a joiner was read";
    stage.world.runFor(2 * MILLISECOND);
    ASSERT_LT(looks, 20000u) << "it never caught up";
  }
  EXPECT_GT(looks, 50u) << "it joined too fast for the test to see anything";
  stage.cluster.network().setDelay(joiner, stage.primary, SimDelay());
  stage.file->sync();
  for (uint64_t block = 0; block < BLOCKS; ++block) {
    ProbeRead read = stage.readWhenServed(joiner, block, 20 * SECOND);
    ASSERT_TRUE(read.ok()) << read.why;
    EXPECT_EQ(stage.problemOf(block, read), "") << "a fragment was read";
  }
  EXPECT_EQ(stage.probe.difference(stage.shard.id, stage.chunk()), "");
}

// A forward is on its way to a backup when its session is evicted. The backup, once it knows that, has shown the old
// bytes: so the forward must not land any more.
TEST(Consistency, ALateForwardOfAFencedSessionNeverLands) {
  Stage stage(6);
  std::string backup = stage.backups[0];
  auto old = stage.copyAt(backup);
  stage.cluster.network().partitionOneWay(stage.primary, backup);
  auto writing = stage.file->writing(9, 1).promise();
  auto flushing = stage.k1().flush(stage.file->handle()).promise();
  stage.cluster.waitFor("the write to be on its way",
                        [&] { return stage.copyAt(stage.primary).digest != old.digest; });
  flushing = nullptr;
  writing = nullptr;
  stage.cluster.network().isolate("k1");
  stage.probe.evict(stage.session());
  ProbeRead shown = stage.readWhenServed(backup, 9, SECOND);
  ASSERT_TRUE(shown.ok()) << shown.why;
  stage.cluster.network().heal(stage.primary, backup);
  stage.world.runFor(5 * SECOND);
  stage.cluster.waitHealthy();
  for (auto& server : stage.cluster.servers()) {
    ProbeRead later = stage.readWhenServed(server, 9, 20 * SECOND);
    ASSERT_TRUE(later.ok()) << server << ": " << later.why;
    EXPECT_EQ(later.bytes, shown.bytes) << "a late forward of a fenced session landed at " << server;
  }
  EXPECT_EQ(stage.probe.difference(stage.shard.id, stage.chunk()), "");
}

// The same for the client's own write: it is in a socket while its session ends, and comes out much later.
TEST(Consistency, ALateWriteOfAFencedSessionNeverLands) {
  Stage stage(8);
  for (auto& server : stage.cluster.servers()) {
    stage.cluster.network().partitionOneWay("k1", server);
  }
  auto writing = stage.file->writing(9, 1).promise();
  auto flushing = stage.k1().flush(stage.file->handle()).promise();
  stage.world.runFor(100 * MILLISECOND);
  flushing = nullptr;
  writing = nullptr;
  stage.cluster.network().partition("k1", "m1");
  stage.probe.evict(stage.session());
  ProbeRead shown = stage.readWhenServed(stage.primary, 9, SECOND);
  ASSERT_TRUE(shown.ok()) << shown.why;
  for (auto& server : stage.cluster.servers()) {
    stage.cluster.network().heal("k1", server);
  }
  stage.world.runFor(3 * SECOND);
  for (auto& server : stage.cluster.servers()) {
    ProbeRead later = stage.readWhenServed(server, 9, 20 * SECOND);
    ASSERT_TRUE(later.ok()) << server << ": " << later.why;
    EXPECT_EQ(later.bytes, shown.bytes) << "a late write of a fenced session landed at " << server;
  }
}

// A member is cut off from master, members and writer, but not from its readers. The others go on without it.
void isolatedMember(uint64_t seed, bool isPrimary) {
  Stage stage(seed);
  std::string member = isPrimary ? stage.primary : stage.backups[0];
  const ShardMap old = stage.cluster.map();
  stage.cluster.network().partition(member, "m1");
  stage.cluster.network().partition(member, "k1");
  for (auto& server : stage.cluster.servers()) {
    if (server != member) {
      stage.cluster.network().partition(member, server);
    }
  }
  stage.file->write(3);
  auto syncing = stage.file->syncing().promise().fork();
  bool synced = false;
  auto noticing = syncing.addBranch().then([&](Status status) {
    EXPECT_TRUE(status.ok());
    synced = true;
  }).eagerlyEvaluate(nullptr);
  unsigned served = 0;
  unsigned looksAfter = 0;
  while (looksAfter < 200) {
    looksAfter += synced ? 1 : 0;
    auto since = stage.file->ledger().floor();
    auto as = Probe::As{&old, SessionId{}, Probe::ANSWER_LIMIT};
    ProbeRead read = stage.cluster.wait(stage.probe.read(member, stage.attributes, 3 * BLOCK_BYTES, BLOCK_BYTES, as));
    if (read.ok()) {
      ++served;
      auto bytes = kj::arrayPtr(read.bytes.data(), read.bytes.size());
      ASSERT_EQ(stage.file->ledger().problem(3, bytes, &since), "") << "an isolated member served a stale read";
    }
    stage.world.runFor(5 * MILLISECOND);
    ASSERT_LT(stage.world.clock().monotonic(), 120 * SECOND) << "the write doesn't go on without the isolated member";
  }
  EXPECT_GT(served, 0u) << "it served nothing even while it might";
  stage.cluster.network().healAll();
  stage.cluster.waitHealthy();
  EXPECT_EQ(stage.file->check(stage.k1()), "");
}

TEST(Consistency, AnIsolatedOldMemberNeverServesAStaleRead) {
  isolatedMember(9, false);
  isolatedMember(10, true);
}

}  // namespace
}  // namespace cairn
