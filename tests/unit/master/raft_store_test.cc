// What a Raft core wanted durable is on the disk when it is told so, and still there when the power has failed.
#include "master/raft_store.h"

#include <gtest/gtest.h>

#include <set>

#include "master/raft_entries.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr Nanos LIMIT = 60 * SECOND;
constexpr raft::MemberId CANDIDATE{0xfedcba9876543210};

class Process final : public RaftStore::Owner {
 public:
  explicit Process(World& world) : world_(world), disk_(world.volume("m").open()) {
    LogOptions options;
    options.cluster = ClusterId{3, 4};
    options.segmentBytes = Log::SEGMENT_BYTES_MIN;
    auto opened = Log::open(*disk_, options);
    KJ_REQUIRE(opened.ok(), opened.error().why);
    log_ = kj::mv(opened.value());
    store_ = kj::heap<RaftStore>(world.clock(), *disk_, *log_, *this);
  }

  Log& log() { return *log_; }
  void submit(raft::Persist persist) { store_->submit(kj::mv(persist)); }
  raft::HardState hard() { return RaftStore::readHardState(*disk_).value(); }
  const std::vector<raft::PersistId>& durable() const { return durable_; }
  void waitFor(raft::PersistId id) {
    auto done = [&] { return !durable_.empty() && durable_.back() == id; };
    ASSERT_TRUE(world_.runUntil(done, LIMIT));
  }

  void onDurable(raft::Persist& persist) override {
    durable_.push_back(persist.id);
    if (!persist.entries.empty()) {
      EXPECT_LE(persist.entries.back().index, log_->durableIndex()) << "told before the disk has it";
    }
  }
  Task<Status> installState(const raft::InstallSnapshot&) override { return kj::Promise<Status>(Status()); }
  void onStoreFailed(Error error) override { ADD_FAILURE() << error.why; }

 private:
  World& world_;
  kj::Own<Disk> disk_;
  kj::Own<Log> log_;
  kj::Own<RaftStore> store_;
  std::vector<raft::PersistId> durable_;
};

raft::Persist entries(uint64_t id, Term term, uint64_t first, uint64_t count) {
  raft::Persist persist;
  persist.id = raft::PersistId{id};
  for (uint64_t i = first; i < first + count; ++i) {
    persist.entries.push_back({term, LogIndex{i}, raft::EntryType::TERM_START, termStartPayload()});
  }
  return persist;
}

raft::Persist vote(uint64_t id, Term term, raft::MemberId candidate) {
  raft::Persist persist;
  persist.id = raft::PersistId{id};
  persist.hardState = raft::HardState{term, candidate};
  return persist;
}

TEST(RaftStoreTest, AVoteOutlivesAPowerCut) {
  World world(1);
  {
    Process process(world);
    process.submit(vote(1, Term{7}, CANDIDATE));
    process.waitFor(raft::PersistId{1});
  }
  world.volume("m").powerCut();
  Process again(world);
  EXPECT_EQ(again.hard().term, Term{7});
  EXPECT_EQ(again.hard().votedFor, CANDIDATE) << "votes for nobody, and could vote once more";
}

TEST(RaftStoreTest, WhatWasReportedOutlivesAPowerCut) {
  std::set<size_t> seen;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    size_t reported = 0;
    {
      Process process(world);
      process.submit(vote(1, Term{1}, CANDIDATE));
      process.submit(entries(2, Term{1}, 1, 3));
      process.submit(entries(3, Term{1}, 4, 40));
      raft::Persist replaced = entries(4, Term{2}, 2, 2);
      replaced.hardState = raft::HardState{Term{2}, raft::NOBODY};
      replaced.truncateFrom = LogIndex{2};
      process.submit(kj::mv(replaced));
      world.runFor(static_cast<Nanos>(seed) * 50 * MICROSECOND);
      reported = process.durable().size();
      seen.insert(reported);
    }
    world.volume("m").powerCut();
    Process again(world);
    constexpr uint64_t LAST[] = {0, 0, 3, 43, 3};
    constexpr uint64_t TERMS[] = {0, 1, 1, 1, 2};
    EXPECT_GE(raw(again.hard().term), TERMS[reported]);
    bool isReplaced = again.hard().term == Term{2};
    EXPECT_TRUE(isReplaced || raw(again.log().lastIndex()) >= LAST[reported]) << reported << " were reported";
    if (reported == 4) {
      EXPECT_EQ(raw(again.log().lastIndex()), 3u);
      EXPECT_EQ(again.log().lastTerm(), Term{2});
    }
  }
  EXPECT_GE(seen.size(), 3u) << "the power always failed at the same moment";
}

}  // namespace
}  // namespace cairn
