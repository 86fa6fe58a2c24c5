// The Raft core in simulated groups under faults of every kind, for many simulated hours; all promises are looked at
// after each step (raft_checks.h). CAIRN_RAFT_HOURS: how many; CAIRN_RAFT_SEED: only this run, which prints its hash.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/sim/raft/world/load.h"
#include "tests/sim/raft/world/nemesis.h"

namespace cairn::raft {
namespace {

constexpr Nanos RUN_TIME = 10 * 60 * SECOND;
constexpr Nanos CALM_TIME = 30 * SECOND;
constexpr Nanos CATCH_UP_MAX = 30 * 60 * SECOND;
constexpr double REACHED_PART = 0.9;
#ifdef __SANITIZE_ADDRESS__
constexpr double HOURS = 10;
#else
constexpr double HOURS = 50;
#endif

struct RunResult {
  uint64_t hash = 0;
  uint64_t writes = 0;
  uint64_t committed = 0;
  uint64_t reads = 0;
  uint64_t messages = 0;
  std::array<uint64_t, Nemesis::FAULT_COUNT> faults{};
};

bool agrees(RaftCluster& cluster) {
  MemberId leader = cluster.someLeader();
  if (leader == NOBODY) {
    return false;
  }
  for (const auto& member : cluster.member(leader).raft().membership().members()) {
    if (cluster.member(member.id).state() != cluster.checks().committedState()) {
      return false;
    }
  }
  return true;
}

// With all faults mended the group must come to agree, with everything that was ever applied.
void expectConvergence(RaftCluster& cluster, Nemesis& nemesis, uint64_t seed) {
  nemesis.mendAll();
  LogIndex acknowledged = cluster.checks().committed();
  Load load(cluster);
  auto isStuck = [&] { return cluster.checks().committed() <= acknowledged; };
  // A message of worse weather may still be on its way, the only snapshot for one of two, say.
  const Nanos calm = cluster.now() + CALM_TIME;
  while (cluster.now() < calm || (isStuck() && cluster.now() < calm + LATE_MAX)) {
    cluster.runUntil(cluster.now() + 100 * MILLISECOND);
    load.request();
  }
  EXPECT_GT(cluster.checks().committed(), acknowledged)
      << "nothing is committed any more, with seed " << seed << cluster.describe();
  for (Nanos end = cluster.now() + CATCH_UP_MAX; cluster.now() < end && !agrees(cluster);) {
    cluster.runUntil(cluster.now() + SECOND);
  }
  EXPECT_TRUE(agrees(cluster)) << "not all members have caught up, with seed " << seed << cluster.describe();
}

RunResult run(uint64_t seed, RareCounts& rare) {
  constexpr unsigned SIZES[] = {3, 3, 3, 5, 5, 1, 2, 4};
  RaftCluster cluster(seed, SIZES[seed % 8], rare);
  Nemesis nemesis(cluster);
  Load load(cluster);
  auto& random = cluster.random();
  Nanos faultGap = random.between(SECOND / 2, 10 * SECOND);
  Nanos nextFault = 5 * SECOND, nextOperation = SECOND, nextRequest = 0;
  try {
    while (cluster.now() < RUN_TIME - CALM_TIME) {
      cluster.runUntil(std::min({nextFault, nextOperation, nextRequest}));
      if (cluster.now() == nextRequest) {
        load.request();
        nextRequest += random.between(MILLISECOND, 200 * MILLISECOND);
      } else if (cluster.now() == nextOperation) {
        load.operate();
        load.retire();
        nextOperation += random.between(SECOND / 10, 5 * SECOND);
      } else {
        nemesis.act();
        nextFault += random.between(0, 2 * faultGap);
      }
    }
    expectConvergence(cluster, nemesis, seed);
  } catch (const kj::Exception& e) {
    ADD_FAILURE() << "seed " << seed << " at " << cluster.now() / MILLISECOND << " ms: " << e.getDescription().cStr()
                  << " (" << e.getFile() << ":" << e.getLine() << ")";
  }
  const auto& checks = cluster.checks();
  return {cluster.traceHash(), load.writes(),      raw(checks.committed()),
          checks.reads(),      cluster.messages(), nemesis.counts()};
}

double environment(const char* name, double otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : std::atof(text);
}

TEST(RaftSimTest, KeepsItsPromisesUnderFaults) {
  RareCounts rare;
  if (getenv("CAIRN_RAFT_SEED") != nullptr) {
    auto seed = static_cast<uint64_t>(environment("CAIRN_RAFT_SEED", 0));
    printf("seed %lu: trace %016lx\n", seed, run(seed, rare).hash);
    return;
  }
  double hours = environment("CAIRN_RAFT_HOURS", HOURS);
  auto runs = static_cast<uint64_t>(hours * 3600 * SECOND / RUN_TIME);
  RunResult all;
  for (uint64_t seed = 1; seed <= runs && !HasFailure(); seed++) {
    auto one = run(seed, rare);
    all.writes += one.writes;
    all.committed += one.committed;
    all.reads += one.reads;
    all.messages += one.messages;
    for (size_t i = 0; i < all.faults.size(); i++) {
      all.faults[i] += one.faults[i];
    }
  }
  printf("%lu runs, %.1f simulated hours: %lu entries committed of %lu proposed, %lu reads, %lu messages\n", runs,
         hours, all.committed, all.writes, all.reads, all.messages);
  for (size_t i = 0; i < all.faults.size(); i++) {
    printf("  fault %-18s %lu\n", Nemesis::FAULTS[i], all.faults[i]);
  }
  size_t reached = 0;
  for (size_t i = 0; i < RARE_COUNT; i++) {
    printf("  REACHED(%s) %lu\n", RARE_NAMES[i], rare.counts[i]);
    reached += rare.counts[i] > 0 ? 1 : 0;
  }
  printf("%zu of %zu declared states reached\n", reached, RARE_COUNT);
  EXPECT_GE(reached, static_cast<size_t>(REACHED_PART * RARE_COUNT));
}

TEST(RaftSimTest, TheSameSeedGivesTheSameRun) {
  for (uint64_t seed = 1000; seed < 1004; seed++) {
    RareCounts first, second;
    EXPECT_EQ(run(seed, first).hash, run(seed, second).hash) << "seed " << seed;
    EXPECT_EQ(first.counts, second.counts) << "seed " << seed;
  }
}

}  // namespace
}  // namespace cairn::raft
