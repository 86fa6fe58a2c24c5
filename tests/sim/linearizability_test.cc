// Eight clients work on the same few names while masters die, lose power and are cut off, together with some of the
// clients: the history of what they were told is that of one directory, one operation after another.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <cstdlib>

#include "tests/sim/cluster/history.h"
#include "tests/sim/cluster/sim_cluster.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr unsigned CLIENTS = 8;  // every second one only asks: a change would keep it waiting at a deposed leader
constexpr unsigned NAMES = 4;
constexpr Nanos PAUSE_MAX = 10 * MILLISECOND;
constexpr unsigned STROKES = 8;
constexpr uint64_t SEEDS = 3;
constexpr uint64_t SEEDS_FULL = 100;

class HistoryWorker {
 public:
  HistoryWorker(SimCluster& cluster, std::string mount, NameHistory& history, bool changes)
      : changes_(changes),
        world_(cluster.world()),
        client_(cluster.mount(mount)),
        name_(std::move(mount)),
        history_(history),
        random_(world_.random("history " + name_)) {}

  Task<void> run() {
    while (!stopping) {
      NameHistory::Op op;
      op.client = name_;
      op.kind = changes_ ? static_cast<NameHistory::Kind>(random_->below(4)) : NameHistory::Kind::LOOKUP;
      op.name = anyName();
      op.begin = world_.clock().monotonic();
      uint64_t believed = client_.stats().leasedLookups;
      co_await ask(op);
      op.believed = client_.stats().leasedLookups > believed;
      op.end = world_.clock().monotonic();
      op.term = Term{client_.stats().term};
      op.index = LogIndex{client_.stats().index};
      if (op.code != 0 && op.code != ENOENT && op.code != EEXIST) {
        unknown = "an operation without an answer: " + std::to_string(op.code);
        co_return;
      }
      history_.add(std::move(op));
      Nanos pause = random_->between(0, PAUSE_MAX);
      co_await world_.clock().after(pause);
    }
    ended = true;
  }

  bool stopping = false;
  bool ended = false;
  std::string unknown;

 private:
  std::string anyName() { return "n" + std::to_string(random_->below(NAMES)); }

  Task<void> ask(NameHistory::Op& op) {
    switch (op.kind) {
      case NameHistory::Kind::CREATE: {
        auto made = co_await client_.makeNode(ROOT_INODE, op.name, 0100644, 0, superuser());
        op.code = made.code();
        op.inode = made.ok() ? made.value().inode : InodeId{};
        break;
      }
      case NameHistory::Kind::LOOKUP: {
        auto found = co_await client_.lookup(ROOT_INODE, op.name, superuser());
        op.code = found.code();
        op.inode = found.ok() ? found.value().inode : InodeId{};
        break;
      }
      case NameHistory::Kind::UNLINK: {
        auto removed = co_await client_.unlink(ROOT_INODE, op.name, superuser());
        op.code = removed.code();
        break;
      }
      case NameHistory::Kind::RENAME: {
        op.to = op.name == "n0" ? "n1" : "n0";
        auto renamed = co_await client_.rename(ROOT_INODE, op.name, ROOT_INODE, op.to, 0, superuser());
        op.code = renamed.code();
        break;
      }
    }
  }

  const bool changes_;
  World& world_;
  Client& client_;
  const std::string name_;
  NameHistory& history_;
  kj::Own<SimRandom> random_;
};

// The leader and some clients on one side, the other masters and clients on the other; who finds itself there looks for
// another leader at once.
void divide(SimCluster& cluster, SimRandom& random) {
  std::string leader = cluster.leader();
  auto& network = cluster.network();
  auto others = cluster.mastersBut(leader);
  for (auto& other : others) {
    network.partition(leader, other);
  }
  for (unsigned i = 1; i <= CLIENTS; ++i) {
    std::string mount = "k" + std::to_string(i);
    if (random.below(2) == 0) {
      for (auto& other : others) {
        network.partition(mount, other);
      }
    } else {
      network.partition(mount, leader);
      network.reset(mount, leader);
    }
  }
}

void strike(SimCluster& cluster, SimRandom& random) {
  std::string leader = cluster.leader();
  uint64_t dice = random.below(6);
  if (dice < 3) {
    divide(cluster, random);
  } else if (dice == 3) {
    cluster.crash(leader);
  } else if (dice == 4) {
    cluster.powerCut(leader);
  } else {
    cluster.network().isolate(leader);
  }
  cluster.world().runFor(random.between(300 * MILLISECOND, 1500 * MILLISECOND));
  cluster.network().healAll();
  for (auto& master : cluster.masters()) {
    if (!cluster.isUp(master)) {
      cluster.restart(master);
    }
  }
  cluster.world().runFor(random.between(100 * MILLISECOND, SECOND));
}

TEST(Linearizability, OfNamesUnderManyClientsAndFaults) {
  uint64_t seeds = getenv("CAIRN_FULL") != nullptr ? SEEDS_FULL : getenv("CAIRN_SIM_PART") != nullptr ? 1 : SEEDS;
  for (uint64_t seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    SimClusterOptions options;
    options.masters = 3;
    SimCluster cluster(world, options);
    cluster.start();
    NameHistory history;
    std::vector<kj::Own<HistoryWorker>> workers;
    std::vector<kj::Promise<void>> working;
    for (unsigned i = 1; i <= CLIENTS; ++i) {
      workers.push_back(kj::heap<HistoryWorker>(cluster, "k" + std::to_string(i), history, i % 2 == 0));
      working.push_back(workers.back()->run().promise().eagerlyEvaluate(nullptr));
    }
    auto random = world.random("strokes");
    for (unsigned i = 0; i < STROKES; ++i) {
      strike(cluster, *random);
    }
    for (auto& worker : workers) {
      worker->stopping = true;
      cluster.waitFor("every operation to end", [&] { return worker->ended || !worker->unknown.empty(); });
      EXPECT_EQ(worker->unknown, "");
    }
    EXPECT_EQ(history.problem(), "");
    EXPECT_GT(history.size(), 1000u) << "too little was done to mean anything";
    printf("seed %d: %zu operations\n", static_cast<int>(seed), history.size());
    working.clear();
  }
}

NameHistory::Op at(NameHistory::Kind kind, Nanos begin, Nanos end, uint64_t index, int code, uint64_t inode = 0) {
  return {kind, "k", "n", "", begin, end, code, InodeId{inode}, Term{1}, LogIndex{index}, false};
}

NameHistory::Op believed(Nanos begin, Nanos end, int code, uint64_t inode = 0) {
  auto op = at(NameHistory::Kind::LOOKUP, begin, end, 0, code, inode);
  op.believed = true;
  return op;
}

TEST(Linearizability, AStaleReadIsSeen) {
  using Kind = NameHistory::Kind;
  NameHistory good;
  good.add(at(Kind::CREATE, 1, 5, 10, 0, 7));
  good.add(at(Kind::LOOKUP, 2, 9, 9, ENOENT));  // it was asked while the create was under way
  good.add(at(Kind::LOOKUP, 6, 7, 10, 0, 7));
  good.add(at(Kind::UNLINK, 8, 9, 11, 0));
  good.add(at(Kind::UNLINK, 10, 12, 12, ENOENT));
  EXPECT_EQ(good.problem(), "");

  NameHistory stale = good;
  stale.add(at(Kind::LOOKUP, 6, 8, 9, ENOENT));
  EXPECT_NE(stale.problem().find("stale"), std::string::npos) << stale.problem();
  NameHistory twice = good;
  twice.add(at(Kind::CREATE, 1, 20, 13, EEXIST));
  EXPECT_NE(twice.problem().find("must be told 0"), std::string::npos) << twice.problem();
  NameHistory other = good;
  other.add(at(Kind::LOOKUP, 6, 12, 10, 0, 8));
  EXPECT_NE(other.problem().find("inode 7"), std::string::npos) << other.problem();
}

TEST(Linearizability, AStaleBeliefIsSeen) {
  using Kind = NameHistory::Kind;
  NameHistory good;
  good.add(at(Kind::CREATE, 10, 15, 10, 0, 7));
  good.add(at(Kind::UNLINK, 20, 25, 11, 0));
  good.add(believed(5, 6, ENOENT));
  good.add(believed(11, 12, ENOENT));  // the change is under way
  good.add(believed(13, 13, 0, 7));
  good.add(believed(16, 21, 0, 7));
  good.add(believed(22, 23, ENOENT));
  EXPECT_EQ(good.problem(), "");

  auto finds = [&good](NameHistory::Op op) {
    NameHistory history = good;
    history.add(std::move(op));
    return history.problem().find("stale belief") != std::string::npos;
  };
  EXPECT_TRUE(finds(believed(16, 17, ENOENT))) << "after the change was answered";
  EXPECT_TRUE(finds(believed(5, 6, 0, 7))) << "before the change was asked for";
  EXPECT_TRUE(finds(believed(24, 24, 0, 7))) << "after another was told that it's gone";
  EXPECT_TRUE(finds(believed(16, 17, 0, 8)));
  EXPECT_FALSE(finds(believed(21, 22, 0, 7))) << "at the same time as the unlink, and before anybody saw it";
}

}  // namespace
}  // namespace cairn
