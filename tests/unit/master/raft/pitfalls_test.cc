// Mistakes that others have made with Raft, each by its number in the list of known pitfalls (DESIGN 4.1). Those of the
// state machine (P2, P12, P13) are in tests/unit/master/pitfalls_test.cc.
#include <gtest/gtest.h>

#include "master/raft/raft.h"
#include "tests/unit/master/raft/scenario.h"

namespace cairn::raft {
namespace {

// Every line must come out as written.
void play(Scenario& scenario, const std::vector<std::string>& lines) {
  for (const auto& line : lines) {
    ASSERT_EQ(scenario.run(line), "") << line;
  }
}

class RaftPitfalls : public testing::Test {
 protected:
  void play(const std::vector<std::string>& lines) { raft::play(scenario_, lines); }
  Scenario scenario_;
};

Restart emptyDisk(const std::vector<MemberId>& voters) {
  Restart restart;
  restart.membership = Membership(voters);
  return restart;
}

TEST_F(RaftPitfalls, P1_NothingIsAnsweredBeforeItIsOnDisk_AloneToo) {
  play({"members 1", "start", "disk 1 slow", "campaign 1", "deliver", "expect 1: candidate, term 1"});
  play({"write 1", "expect 1: leader, commit 0", "write 1", "expect 1: commit 1", "propose 1 a", "deliver"});
  play({"expect 1: last 2, commit 1, applied 1", "write 1", "expect 1: commit 2, applied 2"});
}

TEST_F(RaftPitfalls, P1_AVoteThatWasGivenOutlivesACrash) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "crash 2", "start 2"});
  play({"expect 2: term 1, votes for 1"});
  play({"crash 1", "crash 2", "disk 2 slow", "start 2", "tick 3 10", "campaign 3", "deliver"});
  play({"expect 3: candidate, term 2", "crash 2", "start 2", "expect 2: term 1, votes for 1"});
}

TEST(RaftPitfallsTest, P3_AWipedMemberIsAnotherMember) {
  SimRandom random(1);
  Raft reborn({.self = MemberId{7}}, random, emptyDisk({}));  // the directory of member 3, made anew
  reborn.step({MemberId{1}, MemberId{3}, Term{5}, VoteRequest{{Term{4}, LogIndex{9}}}});
  EXPECT_TRUE(reborn.ready().empty()) << "it answers for the member that it was";
  EXPECT_EQ(reborn.term(), Term{});

  Raft candidate({.self = MemberId{1}}, random, emptyDisk({MemberId{1}, MemberId{2}, MemberId{3}}));
  candidate.campaign();
  candidate.step({MemberId{7}, MemberId{1}, Term{1}, PreVoteResponse{true}});
  EXPECT_EQ(candidate.role(), Role::PRE_CANDIDATE) << "the vote of no member counts";
  candidate.step({MemberId{2}, MemberId{1}, Term{1}, PreVoteResponse{true}});
  EXPECT_EQ(candidate.role(), Role::CANDIDATE);
}

TEST_F(RaftPitfalls, P4_NoMembershipChangeBeforeTheTermHasCommitted) {
  play({"members 1 2 3 4", "start", "disk 2 slow", "disk 3 slow", "disk 4 slow", "campaign 1", "deliver"});
  play({"write 2", "write 3", "deliver", "expect 1: leader, commit 0", "remove 1 4 -> TERM_NOT_COMMITTED"});
  play({"disk 2 fast", "disk 3 fast", "disk 4 fast", "deliver", "remove 1 4", "remove 1 3 -> CHANGE_PENDING"});
}

TEST_F(RaftPitfalls, P5_APartlyCutOffMemberDeposesNobody) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "cut 1 3"});
  for (int i = 0; i < 20; i++) {
    play({"tick 1 2", "tick 3 7", "deliver", "expect 1: leader, term 1", "expect 2: term 1, follows 1"});
  }
}

TEST_F(RaftPitfalls, P6_OldTermsAreNotCommittedByCounting) {
  play({"option append-entries 1", "members 1 2 3", "log 1: 1 2", "log 2: 1", "log 3: 1", "term 2: 2", "term 3: 2"});
  play({"start", "disk 1 slow", "campaign 1", "deliver", "write 1", "deliver 1 > 2", "write 2", "deliver 2 > 1"});
  play({"expect 1: leader, term 3, log 1 2 3", "deliver 1 > 2", "deliver 2 > 1", "deliver 1 > 2", "write 2"});
  play({"deliver 2 > 1", "expect 2: log 1 2, durable 2", "expect 1: commit 0"});
}

TEST_F(RaftPitfalls, P7_ReadsWaitForTheFirstCommitOfTheTerm) {
  play({"members 1 2 3", "log 1: 1", "log 2: 1", "log 3: 1", "start", "disk 2 slow", "disk 3 slow", "campaign 1"});
  play({"deliver", "write 2", "deliver", "expect 1: leader, commit 0", "read 1 r", "deliver", "tick 1 2", "deliver"});
  play({"expect 1: reads", "disk 2 fast", "deliver", "expect 1: commit 2, reads r@2"});
}

TEST(RaftPitfallsTest, P8_ReadIdsAreNeverUsedTwice) {
  SimRandom random(1);
  std::set<ReadId> seen;
  Restart disk = emptyDisk({MemberId{1}});
  for (int life = 0; life < 3; life++) {
    Raft raft({.self = MemberId{1}}, random, disk);
    raft.campaign();
    disk.hard = raft.hardState();
    raft.persisted(raft.ready().persist->id);
    for (int i = 0; i < 10; i++) {
      auto id = raft.requestRead();
      ASSERT_TRUE(id.has_value());
      EXPECT_TRUE(seen.insert(*id).second);
    }
  }
}

TEST_F(RaftPitfalls, P8_LateAnswersSpeakForNoLaterQuestion) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "hold 2 > 1", "hold 3 > 1", "read 1 first", "deliver"});
  play({"cut 1 > 2", "cut 1 > 3", "read 1 second", "release", "deliver", "expect 1: reads first@1"});
}

TEST_F(RaftPitfalls, P9_NoReadRestsOnAClock) {
  play({"members 1 2 3", "start", "campaign 1", "deliver"});
  // 1 stands still: no time passes for it, while the others elect another and write.
  play({"isolate 1", "tick 2 10", "tick 3 20", "deliver", "expect 3: leader, term 2", "propose 3 x", "deliver"});
  play({"read 1 stale", "deliver", "expect 1: leader, term 1, reads", "heal", "tick 3 2", "deliver"});
  play({"expect 1: follower, reads stale-failed"});
}

TEST_F(RaftPitfalls, P10_ASnapshotIsThereWholeOrNotAtAll) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "isolate 3", "propose 1 a b c", "deliver"});
  play({"snapshot 1 0", "heal", "disk 3 slow", "tick 1 2", "deliver", "tick 1 2", "deliver"});
  play({"expect 3: base 4, applied 1", "crash 3", "start 3", "expect 3: base 0, last 1, applied 0"});
  play({"disk 3 fast", "snapshot-lost 1 3", "tick 1 2", "deliver", "tick 1 2", "deliver", "tick 1 2", "deliver"});
  play({"expect 3: base 4, applied 4", "crash 3", "start 3", "expect 3: base 4, last 4, applied 4"});
}

// The same place in the log, written twice: the end of the first write must not be taken for that of the second.
TEST(RaftPitfallsTest, P11_TheEndOfAWriteIsOfThatWriteOnly) {
  SimRandom random(1);
  Raft raft({.self = MemberId{1}}, random, emptyDisk({MemberId{1}, MemberId{2}, MemberId{3}}));
  auto append = [](MemberId leader, Term term, Term previous, LogIndex at) {
    AppendRequest request{{previous, before(at)}, {Entry{term, at}}, LogIndex{}};
    return Message{leader, MemberId{1}, term, request};
  };
  raft.step(append(MemberId{2}, Term{1}, Term{}, LogIndex{1}));
  auto first = raft.ready().persist;
  raft.step(append(MemberId{3}, Term{2}, Term{}, LogIndex{1}));
  auto second = raft.ready().persist;
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->truncateFrom, LogIndex{1});
  raft.persisted(first->id);
  EXPECT_EQ(raft.durable(), LogIndex{}) << "entry 1 of term 2 is on its way still";
  raft.persisted(second->id);
  EXPECT_EQ(raft.durable(), LogIndex{1});
}

TEST(RaftPitfallsTest, P14_AppendsKeepToTheirLimits) {
  constexpr uint64_t SEED = 14;
  SimRandom random(SEED);
  for (int round = 0; round < 200; round++) {
    LogView log;
    log.reset({}, Membership());
    uint64_t count = 1 + random.below(100);
    for (uint64_t i = 1; i <= count; i++) {
      log.append({Term{1}, LogIndex{i}, EntryType::COMMAND, Payload(kj::heapArray<kj::byte>(random.below(3000)))});
    }
    size_t entriesMax = 1 + random.below(20), bytesMax = 1 + random.below(5000);
    for (LogIndex at{1}; at <= log.last();) {
      auto packed = log.entries(at, entriesMax, bytesMax);
      ASSERT_FALSE(packed.empty()) << "no progress, seed " << SEED << " round " << round;
      size_t bytes = 0;
      for (const auto& entry : packed) {
        ASSERT_EQ(entry.index, at);
        at = next(at);
        bytes += sizeOf(entry);
      }
      ASSERT_LE(packed.size(), entriesMax);
      ASSERT_TRUE(bytes <= bytesMax || packed.size() == 1) << bytes << " of " << bytesMax << ", seed " << SEED;
    }
  }
}

TEST_F(RaftPitfalls, P15_ASlowDiskChangesNoLeader) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "disk 1 slow", "disk 2 slow", "disk 3 slow"});
  play({"propose 1 a b c"});
  for (int i = 0; i < 50; i++) {
    play({"tick 1 2", "tick 2 2", "tick 3 2", "deliver", "expect 1: leader, term 1", "expect 2: term 1, follows 1"});
  }
  play({"expect 1: commit 1", "disk 2 fast", "deliver", "disk 1 fast", "deliver", "expect 1: commit 4"});
}

TEST_F(RaftPitfalls, P17_TransferWaitsForThoseWhoLagAndGivesUpInTime) {
  play({"members 1 2 3", "start", "campaign 1", "deliver", "disk 2 slow", "propose 1 a b c", "deliver"});
  play({"transfer 1 2", "propose 1 d -> TRANSFERRING", "deliver", "expect 1: leader", "disk 2 fast", "deliver"});
  play({"expect 2: leader, term 2, commit 5", "expect 1: follower, term 2"});
  play({"crash 3", "transfer 2 3", "tick 2 5", "propose 2 e -> TRANSFERRING", "deliver", "tick 2 5",
        "deliver"});
  play({"propose 2 e", "deliver", "expect 2: leader, term 2, commit 6"});
}

}  // namespace
}  // namespace cairn::raft
