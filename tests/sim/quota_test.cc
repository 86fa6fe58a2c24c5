// Several mounts write below one quota while masters die, links break and mounts are cut off: the limit isn't passed by
// a byte, what write() has accepted is never refused later, and in the end there is nothing that nobody can use.
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "tests/sim/cluster/probe.h"
#include "tests/sim/cluster/sim_cluster.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr unsigned MOUNTS = 3;
constexpr uint64_t LIMIT_BYTES = 400'000;
constexpr uint64_t WRITE_BYTES_MAX = 9'000;
constexpr unsigned FILES = 4;
constexpr Nanos PAUSE_MAX = 20 * MILLISECOND;
constexpr unsigned STROKES = 6;
constexpr uint64_t SEEDS = 4;
constexpr uint64_t SEEDS_FULL = 100;

std::string nameOf(unsigned mount) { return "k" + std::to_string(mount); }

// One program at one mount, with some files of its own.
class QuotaWorker {
 public:
  QuotaWorker(SimCluster& cluster, InodeId directory, unsigned number)
      : cluster_(cluster),
        client_(cluster.client(nameOf(number))),
        random_(cluster.world().random("quota " + std::to_string(number))),
        directory_(directory),
        prefix_("f" + std::to_string(number) + "-") {}

  Task<void> run() {
    while (!stopping && problem.empty()) {
      std::string name = prefix_ + std::to_string(random_->below(FILES));
      uint64_t what = random_->below(10);
      if (what == 0) {
        co_await client_.unlink(directory_, name, superuser());
      } else {
        co_await use(kj::mv(name), what);
      }
      Nanos pause = random_->between(0, PAUSE_MAX);
      co_await cluster_.world().clock().after(pause);
    }
    ended = true;
  }

  bool stopping = false;
  bool ended = false;
  bool mayFail = false;  // its session may end
  std::string problem;
  unsigned refused = 0;
  unsigned accepted = 0;

 private:
  Task<void> use(std::string name, uint64_t what) {
    auto found = co_await client_.makeNode(directory_, name, S_IFREG | 0644, 0, superuser());
    if (found.code() == EEXIST) {
      found = co_await client_.lookup(directory_, name, superuser());
    }
    if (!found.ok()) {
      failed("a name", found.error());
      co_return;
    }
    const InodeId inode = found.value().inode;
    HandleId handle = client_.open(inode, OPEN_WRITE | OPEN_APPEND);
    if (what == 1) {
      co_await truncate(inode);
    } else {
      co_await append(handle);
    }
    if (what < 5) {
      Status synced = co_await client_.fsync(handle, false);
      if (!synced.ok()) {
        failed("an fsync", synced.error());
      }
    }
    client_.release(handle);
  }

  Task<void> append(HandleId handle) {
    auto bytes = kj::heapArray<kj::byte>(random_->between(1, WRITE_BYTES_MAX));
    memset(bytes.begin(), 'q', bytes.size());
    auto written = co_await client_.write(handle, 0, bytes);
    if (written.ok()) {
      ++accepted;
    } else if (written.code() == EDQUOT) {
      ++refused;
    } else {
      failed("a write", written.error());
    }
  }

  Task<void> truncate(InodeId inode) {
    AttributeChange change;
    change.which = SET_SIZE;
    change.sizeBytes = random_->below(8 * WRITE_BYTES_MAX);
    auto done = co_await client_.setAttributes(inode, change, superuser());
    if (!done.ok() && done.code() != EDQUOT) {
      failed("a truncation", done.error());
    }
  }

  void failed(const char* what, const Error& error) {
    if (!mayFail || (error.code != EIO && error.code != ESTALE && error.code != ENOENT)) {
      problem = std::string(what) + " failed: " + std::to_string(error.code) + " " + error.why;
    }
  }

  SimCluster& cluster_;
  Client& client_;
  kj::Own<SimRandom> random_;
  const InodeId directory_;
  const std::string prefix_;
};

SimClusterOptions threeMasters() {
  SimClusterOptions options;
  options.masters = 3;
  return options;
}

struct Stage {
  explicit Stage(uint64_t seed) : world(seed), cluster(world, threeMasters()), probe(cluster) {
    cluster.start();
    for (unsigned i = 1; i <= MOUNTS; ++i) {
      cluster.mount(nameOf(i));
    }
    directory = cluster.wait(cluster.client("k1").makeDirectory(ROOT_INODE, "q", 0755, superuser())).value().inode;
    EXPECT_EQ(probe.setQuota("/q", LIMIT_BYTES, 0), 0);
  }

  void run(unsigned mayFail) {
    for (unsigned i = 1; i <= MOUNTS; ++i) {
      workers.push_back(kj::heap<QuotaWorker>(cluster, directory, i));
      workers.back()->mayFail = i == mayFail;
    }
    for (auto& worker : workers) {
      working.push_back(worker->run().promise().eagerlyEvaluate(nullptr));
    }
  }

  uint64_t used() {
    auto text = cluster.wait(cluster.client("k2").getXattr(directory, "user.dfs.rbytes", superuser()));
    return text.ok() ? std::stoull(text.value()) : 0;
  }

  // Then what is left can be used to the last byte, by a mount that has none of the grants.
  void end() {
    unsigned refused = 0;
    unsigned accepted = 0;
    for (auto& worker : workers) {
      worker->stopping = true;
      cluster.waitFor("every operation to end", [&] { return worker->ended; });
      EXPECT_EQ(worker->problem, "");
      refused += worker->refused;
      accepted += worker->accepted;
    }
    working.clear();
    EXPECT_GT(accepted, 100u) << "too little was done to mean anything";
    printf("seed %d: %u writes, %u refused\n", static_cast<int>(world.seed()), accepted, refused);
    fillUp();
    for (unsigned i = 1; i <= MOUNTS; ++i) {
      EXPECT_TRUE(cluster.wait(cluster.client(nameOf(i)).syncAll()).ok());
    }
    EXPECT_EQ(used(), LIMIT_BYTES);
    EXPECT_EQ(probe.quotas().bytesGranted, 0u);
  }

  void fillUp() {
    Client& last = cluster.mount("last");
    auto made = cluster.wait(last.create(directory, "last", 0644, OPEN_WRITE | OPEN_APPEND, superuser()));
    HandleId handle = made.value().handle;
    auto bytes = kj::heapArray<kj::byte>(WRITE_BYTES_MAX);
    memset(bytes.begin(), 'l', bytes.size());
    int code = 0;
    while (code == 0) {
      auto written = cluster.wait(last.write(handle, 0, bytes));
      code = written.code();
    }
    EXPECT_EQ(code, EDQUOT);
    EXPECT_TRUE(cluster.wait(last.fsync(handle, false)).ok());
    last.release(handle);
  }

  World world;
  SimCluster cluster;
  Probe probe;
  InodeId directory{};
  std::vector<kj::Own<QuotaWorker>> workers;
  std::vector<kj::Promise<void>> working;
};

void strike(Stage& stage, SimRandom& random) {
  auto& cluster = stage.cluster;
  std::string leader = cluster.leader();
  std::string mount = nameOf(1 + static_cast<unsigned>(random.below(MOUNTS)));
  switch (random.below(4)) {
    case 0:
      cluster.crash(leader);
      break;
    case 1:
      cluster.powerCut(leader);
      break;
    case 2:
      cluster.network().isolate(mount);
      break;
    default:
      cluster.network().reset(mount, leader);
  }
  cluster.world().runFor(random.between(50 * MILLISECOND, 800 * MILLISECOND));
  cluster.network().healAll();
  for (auto& host : cluster.masters()) {
    if (!cluster.isUp(host)) {
      cluster.restart(host);
    }
  }
  cluster.waitHealthy();
  EXPECT_LE(stage.used(), LIMIT_BYTES);
  cluster.world().runFor(random.between(100 * MILLISECOND, SECOND));
}

uint64_t seeds() {
  return getenv("CAIRN_FULL") != nullptr ? SEEDS_FULL : getenv("CAIRN_SIM_PART") != nullptr ? 1 : SEEDS;
}

TEST(Quota, IsUsedToTheLastByteAndNotPassedUnderFaults) {
  for (uint64_t seed = 1; seed <= seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Stage stage(seed);
    stage.run(0);
    auto random = stage.world.random("strokes");
    for (unsigned i = 0; i < STROKES; ++i) {
      strike(stage, *random);
    }
    stage.end();
  }
}

// k1 is cut off until its session has ended: what it was granted comes back, and nothing of it lands late.
TEST(Quota, OfAMountThatIsCutOffComesBack) {
  for (uint64_t seed = 1; seed <= seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Stage stage(seed);
    stage.run(1);
    auto random = stage.world.random("strokes");
    for (unsigned i = 0; i < 2; ++i) {
      stage.world.runFor(random->between(50 * MILLISECOND, 300 * MILLISECOND));
      stage.cluster.network().isolate("k1");
      stage.world.runFor(random->between(4 * SECOND, 12 * SECOND));
      stage.cluster.network().healAll();
      stage.world.runFor(SECOND);
      EXPECT_LE(stage.used(), LIMIT_BYTES);
    }
    stage.end();
  }
}

}  // namespace
}  // namespace cairn
