// Reads under the leader's lease, in thousands of moments chosen to be the worst for it: the leader is cut off, hands
// over, or loses its voters, while everybody who thinks it leads is written to and read from each millisecond.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/sim/raft/world/load.h"

namespace cairn::raft {
namespace {

constexpr unsigned EPISODES = 25;
constexpr Nanos QUIET = 150 * MILLISECOND;
constexpr Nanos OFFICE_MAX = 20 * SECOND;  // within which somebody leads
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t RUNS = 40;
#else
constexpr uint64_t RUNS = 400;
#endif

class Storm {
 public:
  Storm(uint64_t seed, RareCounts& rare)
      : cluster_(seed, seed % 4 == 0 ? 5 : 3, rare), random_(cluster_.random()), load_(cluster_) {
    Nanos delayMax = random_.below(2) == 0 ? MILLISECOND : 60 * MILLISECOND;
    cluster_.weather().delayMax = random_.between(MILLISECOND, delayMax);
  }

  void run() {
    for (unsigned i = 0; i < EPISODES; i++) {
      leader_ = settle();
      if (leader_ == NOBODY) {
        ADD_FAILURE() << "nobody leads" << cluster_.describe();
        return;
      }
      episode();
      probe(random_.between(50, 600) * MILLISECOND);
    }
  }
  uint64_t reads() { return cluster_.checks().reads(); }

 private:
  MemberId settle() {
    cluster_.healNetwork();
    for (auto& [id, node] : cluster_.nodes()) {
      if (!node.member->running()) {
        cluster_.start(id);
      }
    }
    for (Nanos end = cluster_.now() + OFFICE_MAX; cluster_.now() < end;) {
      probe(random_.between(100, 200) * MILLISECOND);
      MemberId leader = cluster_.someLeader();
      if (leader != NOBODY && cluster_.member(leader).raft().committedInTerm()) {
        return leader;
      }
    }
    return NOBODY;
  }

  // Everybody who thinks it leads, each millisecond.
  void probe(Nanos time) {
    for (Nanos end = cluster_.now() + time; cluster_.now() < end;) {
      cluster_.runUntil(cluster_.now() + MILLISECOND);
      for (auto id : cluster_.runningMembers()) {
        load_.requestFrom(id);
      }
    }
  }

  void episode() {
    switch (random_.below(7)) {
      case 0:
        cutOff(true, true);
        tellAll();
        break;
      case 1:
        cutOff(random_.below(2) == 0, true);
        tellAll();
        break;
      case 2:
        handOver();
        break;
      case 3:
        restartVoters();
        break;
      case 4:
        lateOrder();
        break;
      case 5:
        slowAnswers();
        break;
      default:
        oneFollows();
        break;
    }
  }

  void cutOff(bool from, bool to) {
    for (const auto& [id, node] : cluster_.nodes()) {
      if (from) {
        cluster_.cut(leader_, id);
      }
      if (to) {
        cluster_.cut(id, leader_);
      }
    }
  }

  // The others see their connections break, or are told to stand.
  void tellAll() {
    for (const auto& [id, node] : cluster_.nodes()) {
      if (id != leader_ && random_.below(4) > 0) {
        auto& raft = cluster_.member(id).raft();
        random_.below(2) == 0 ? raft.linkLost(leader_) : raft.campaign();
        cluster_.member(id).settle();
        cluster_.touched(id);
      }
    }
  }

  MemberId other() {
    for (auto id : cluster_.runningMembers()) {
      if (id != leader_ && random_.below(2) == 0) {
        return id;
      }
    }
    return cluster_.runningMembers().front();
  }

  void handOver() {
    MemberId heir = other();
    order(heir);
    probe(random_.between(0, 3) * MILLISECOND);
    cutOff(false, true);
  }

  // To one that has everything, so that the order goes at once.
  void order(MemberId heir) {
    cluster_.runUntil(cluster_.now() + QUIET);
    cluster_.member(leader_).raft().transfer(heir);
    cluster_.member(leader_).settle();
    cluster_.touched(leader_);
  }

  void restartVoters() {
    cutOff(true, true);
    for (const auto& [id, node] : cluster_.nodes()) {
      if (id != leader_ && random_.below(3) > 0) {
        cluster_.crash(id);
        cluster_.start(id);
      }
    }
    tellAll();
  }

  // The order to take over reaches one that stands still, and goes on when the leader has given it up.
  void lateOrder() {
    MemberId heir = other();
    Nanos pause = random_.between(200, 500) * MILLISECOND;
    order(heir);
    cluster_.pause(heir, pause);
    probe(pause - random_.between(0, 20) * MILLISECOND);
    if (random_.below(2) == 0) {
      cutOff(false, true);
    }
  }

  // Answers are long on the way, and the last ones arrive when the promises behind them are almost over.
  void slowAnswers() {
    Nanos slowness = random_.between(20, 200) * MILLISECOND;
    for (const auto& [id, node] : cluster_.nodes()) {
      cluster_.delay(id, leader_, slowness);
    }
    probe(random_.between(100, 400) * MILLISECOND);
    cutOff(true, false);
    tellAll();
  }

  // The others have promised nothing for long when one more loses the leader.
  void oneFollows() {
    MemberId follower = other();
    for (const auto& [id, node] : cluster_.nodes()) {
      if (id != follower) {
        cluster_.cut(leader_, id);
        cluster_.cut(id, leader_);
      }
    }
    probe(random_.between(50, 600) * MILLISECOND);
    cutOff(true, random_.below(2) == 0);
    tellAll();
  }

  RaftCluster cluster_;
  SimRandom& random_;
  Load load_;
  MemberId leader_ = NOBODY;
};

TEST(LeaseSimTest, NoReadUnderALeaseIsStale) {
  RareCounts rare;
  uint64_t reads = 0;
  for (uint64_t seed = 1; seed <= RUNS && !HasFailure(); seed++) {
    try {
      Storm storm(seed, rare);
      storm.run();
      reads += storm.reads();
    } catch (const kj::Exception& e) {
      ADD_FAILURE() << "seed " << seed << ": " << e.getDescription().cStr();
    }
  }
  printf("%lu reads under a lease, %lu too late for it; votes withheld %lu, by the restarted %lu, orders void %lu\n",
         reads, rare.of(Rare::LEASE_ENDED_BEFORE_ANSWER), rare.of(Rare::VOTE_PROMISED), rare.of(Rare::VOTE_FORGOTTEN),
         rare.of(Rare::TIMEOUT_NOW_OUTDATED));
  EXPECT_GT(reads, RUNS * EPISODES);
  EXPECT_GT(rare.of(Rare::LEASE_ENDED_BEFORE_ANSWER), RUNS);
  EXPECT_GT(rare.of(Rare::PROMISE_RELEASED), RUNS);
}

}  // namespace
}  // namespace cairn::raft
