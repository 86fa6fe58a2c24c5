// Several mounts read, write and append to the same files while masters die, links break and mounts are cut off: what
// they see is one file, one operation after another.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>

#include "tests/sim/cluster/registers.h"
#include "tests/sim/cluster/sim_cluster.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {
namespace {

constexpr unsigned MOUNTS = 3;
constexpr unsigned WORKERS_OF_MOUNT = 2;
constexpr uint64_t BLOCKS = 6;
constexpr uint64_t RECORD_BYTES = 16;
constexpr Nanos PAUSE_MAX = 5 * MILLISECOND;
constexpr unsigned STROKES = 8;
constexpr uint64_t SEEDS = 4;
constexpr uint64_t SEEDS_FULL = 100;

struct Shared {
  explicit Shared(SimCluster& cluster) : cluster(cluster), world(cluster.world()) {}

  struct Append {
    uint64_t record = 0;
    Nanos begin = 0, end = 0;
  };

  SimCluster& cluster;
  World& world;
  InodeId file{}, log{};
  RegisterHistory registers;
  std::vector<Append> appends;
  uint64_t appended = 0;  // records of appends that were answered
  uint64_t lastValue = 0;
};

// One program at one mount.
class BytesWorker {
 public:
  BytesWorker(Shared& shared, const std::string& mount, unsigned number)
      : shared_(shared),
        client_(shared.cluster.client(mount)),
        random_(shared.world.random("bytes " + mount + std::to_string(number))),
        file_(client_.open(shared.file, OPEN_WRITE)),
        log_(client_.open(shared.log, OPEN_WRITE | OPEN_APPEND)) {}

  Task<void> run() {
    while (!stopping && problem.empty()) {
      switch (random_->below(8)) {
        case 0:
        case 1:
          co_await write();
          break;
        case 2:
          co_await append();
          break;
        case 3:
          co_await look();
          break;
        default:
          co_await read();
      }
      Nanos pause = random_->between(0, PAUSE_MAX);
      co_await shared_.world.clock().after(pause);
    }
    ended = true;
  }

  bool stopping = false;
  bool ended = false;
  bool mayFail = false;  // its mount is cut off for longer than its session lasts
  std::string problem;

 private:
  Nanos now() { return shared_.world.clock().monotonic(); }

  void failed(const char* what, const Error& error) {
    if (!mayFail) {
      problem = std::string(what) + " failed: " + error.why;
    }
  }

  // A block is its number, all over.
  Task<void> write() {
    const uint64_t block = random_->below(BLOCKS);
    const uint64_t value = ++shared_.lastValue;
    std::vector<uint64_t> words(BLOCK_BYTES / sizeof value, value);
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(words.data()), BLOCK_BYTES);
    const Nanos begin = now();
    auto written = co_await client_.write(file_, block * BLOCK_BYTES, bytes);
    Status done = written.ok() ? Status() : Status(written.error());
    if (done.ok() && mayFail) {
      done = co_await client_.fsync(file_, false);  // what is only buffered may be lost with the session
    }
    if (!done.ok()) {
      failed("a write", done.error());
    }
    shared_.registers.wrote(block, value, begin, done.ok() ? now() : RegisterHistory::NEVER);
  }

  Task<void> read() {
    const uint64_t block = random_->below(BLOCKS);
    const Nanos begin = now();
    auto got = co_await client_.read(file_, block * BLOCK_BYTES, BLOCK_BYTES);
    if (!got.ok()) {
      failed("a read", got.error());
      co_return;
    }
    auto bytes = got.value().joined();
    uint64_t value = 0;
    if (bytes.size() == BLOCK_BYTES) {
      memcpy(&value, bytes.begin(), sizeof value);
      for (size_t at = 0; at < bytes.size(); at += sizeof value) {
        if (memcmp(bytes.begin() + at, &value, sizeof value) != 0) {
          problem = "block " + std::to_string(block) + " is torn";
        }
      }
    }
    if (!mayFail) {  // it may see what its own mount has buffered and loses
      shared_.registers.read(block, value, begin, now());
    }
  }

  Task<void> append() {
    Shared::Append append;
    append.record = ++shared_.lastValue;
    uint64_t words[2] = {append.record, ~append.record};
    auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(words), sizeof words);
    append.begin = now();
    auto written = co_await client_.write(log_, 0, bytes);
    Status done = written.ok() ? Status() : Status(written.error());
    if (done.ok() && mayFail) {
      done = co_await client_.fsync(log_, false);
    }
    if (!done.ok()) {
      failed("an append", done.error());
      co_return;
    }
    append.end = now();
    shared_.appends.push_back(append);
    ++shared_.appended;
  }

  // The size has everything whose append was answered before.
  Task<void> look() {
    const uint64_t before = shared_.appended * RECORD_BYTES;
    auto found = co_await client_.attributes(shared_.log);
    if (!found.ok()) {
      failed("a look at the size", found.error());
    } else if (found.value().sizeBytes < before && !mayFail) {
      problem = "the size " + std::to_string(found.value().sizeBytes) + " is of before an append that was answered; " +
                std::to_string(before) + " was there";
    }
  }

  Shared& shared_;
  Client& client_;
  kj::Own<SimRandom> random_;
  HandleId file_, log_;
};

// Every answered append is in the log, once, whole, and in the order of time.
std::string problemOfLog(Shared& shared, Client& reader) {
  HandleId handle = reader.open(shared.log, 0);
  auto size = shared.cluster.wait(reader.attributes(shared.log)).value().sizeBytes;
  auto read = shared.cluster.wait(reader.read(handle, 0, static_cast<uint32_t>(size)));
  reader.release(handle);
  if (!read.ok()) {
    return "the log can't be read: " + read.error().why;
  }
  auto bytes = read.value().joined();
  if (bytes.size() != size || size % RECORD_BYTES != 0) {
    return "the log has " + std::to_string(bytes.size()) + " of " + std::to_string(size) + " bytes";
  }
  std::map<uint64_t, uint64_t> places;
  for (uint64_t at = 0; at < size; at += RECORD_BYTES) {
    uint64_t words[2];
    memcpy(words, bytes.begin() + at, sizeof words);
    if (words[0] != ~words[1]) {
      return "a torn record at " + std::to_string(at);
    }
    if (!places.emplace(words[0], at).second) {
      return "record " + std::to_string(words[0]) + " is there twice";
    }
  }
  auto appends = shared.appends;
  std::sort(appends.begin(), appends.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  for (auto& append : appends) {
    if (!places.contains(append.record)) {
      return "record " + std::to_string(append.record) + " is lost";
    }
  }
  for (size_t i = 0; i < appends.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (appends[j].end < appends[i].begin && places[appends[j].record] > places[appends[i].record]) {
        return "record " + std::to_string(appends[i].record) + " lies before an older one";
      }
    }
  }
  return {};
}

// Short enough that no session ends.
void strike(SimCluster& cluster, SimRandom& random) {
  auto& network = cluster.network();
  std::string leader = cluster.leader();
  std::string mount = "k" + std::to_string(1 + random.below(MOUNTS));
  Nanos lasting = random.between(50 * MILLISECOND, 800 * MILLISECOND);
  switch (random.below(6)) {
    case 0:
      cluster.crash(leader);
      break;
    case 1:
      cluster.powerCut(leader);
      break;
    case 2:
      network.reset(mount, leader);
      break;
    case 3:
      network.isolate(mount);
      break;
    case 4:
      network.partition(mount, leader);
      break;
    default:
      cluster.crash(cluster.servers()[random.below(cluster.servers().size())]);
  }
  cluster.world().runFor(lasting);
  network.healAll();
  for (auto& hosts : {cluster.masters(), cluster.servers()}) {
    for (auto& host : hosts) {
      if (!cluster.isUp(host)) {
        cluster.restart(host);
      }
    }
  }
  cluster.waitHealthy();
  cluster.world().runFor(random.between(100 * MILLISECOND, SECOND));
}

struct Stage {
  explicit Stage(uint64_t seed) : world(seed), cluster(world, options()), shared(cluster) {
    cluster.start();
    for (unsigned i = 1; i <= MOUNTS; ++i) {
      cluster.mount("k" + std::to_string(i));
    }
    Client& first = cluster.client("k1");
    shared.file = make(first, "file");
    shared.log = make(first, "log");
  }
  static SimClusterOptions options() {
    SimClusterOptions out;
    out.masters = 3;
    return out;
  }
  InodeId make(Client& by, const std::string& name) {
    return cluster.wait(by.makeNode(ROOT_INODE, name, S_IFREG | 0644, 0, superuser())).value().inode;
  }
  void begin() {
    for (unsigned i = 1; i <= MOUNTS; ++i) {
      for (unsigned j = 0; j < WORKERS_OF_MOUNT; ++j) {
        workers.push_back(kj::heap<BytesWorker>(shared, "k" + std::to_string(i), j));
      }
    }
  }
  void run() {
    for (auto& worker : workers) {
      working.push_back(worker->run().promise().eagerlyEvaluate(nullptr));
    }
  }
  void end(const std::string& reader) {
    for (auto& worker : workers) {
      worker->stopping = true;
      cluster.waitFor("every operation to end", [&] { return worker->ended; });
      EXPECT_EQ(worker->problem, "");
    }
    EXPECT_EQ(shared.registers.problem(), "");
    EXPECT_EQ(problemOfLog(shared, cluster.client(reader)), "");
    EXPECT_GT(shared.registers.size(), 200u) << "too little was done to mean anything";
    printf("seed %d: %zu reads and writes, %zu appends\n", static_cast<int>(world.seed()), shared.registers.size(),
           shared.appends.size());
    working.clear();
  }

  World world;
  SimCluster cluster;
  Shared shared;
  std::vector<kj::Own<BytesWorker>> workers;
  std::vector<kj::Promise<void>> working;
};

uint64_t seeds() {
  return getenv("CAIRN_FULL") != nullptr ? SEEDS_FULL : getenv("CAIRN_SIM_PART") != nullptr ? 1 : SEEDS;
}

TEST(Bytes, OfSharedFilesAreLinearizableUnderFaults) {
  for (uint64_t seed = 1; seed <= seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Stage stage(seed);
    stage.begin();
    stage.run();
    auto random = stage.world.random("strokes");
    for (unsigned i = 0; i < STROKES; ++i) {
      strike(stage.cluster, *random);
    }
    stage.end("k2");
  }
}

// k1 is cut off in the middle of its writes until its session has ended and others have taken over. What it still has
// buffered, and what it sent late, never lands over what these have written.
TEST(Bytes, OfAMountThatWasCutOffNeverLandLate) {
  for (uint64_t seed = 1; seed <= seeds() && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Stage stage(seed);
    stage.begin();
    for (unsigned i = 0; i < WORKERS_OF_MOUNT; ++i) {
      stage.workers[i]->mayFail = true;
    }
    stage.run();
    auto random = stage.world.random("strokes");
    for (unsigned i = 0; i < 2; ++i) {
      stage.world.runFor(random->between(50 * MILLISECOND, 300 * MILLISECOND));
      stage.cluster.network().isolate("k1");
      stage.world.runFor(random->between(4 * SECOND, 12 * SECOND));
      stage.cluster.network().healAll();
      stage.world.runFor(SECOND);
    }
    stage.end("k2");
  }
}

TEST(Bytes, AHistoryThatNoOrderExplainsIsSeen) {
  RegisterHistory good;
  good.wrote(1, 10, 0, 5);
  good.read(1, 10, 6, 7);
  good.wrote(1, 11, 8, 20);
  good.read(1, 10, 9, 12);
  good.read(1, 11, 10, 15);
  good.wrote(1, 12, 30, RegisterHistory::NEVER);
  good.read(2, RegisterHistory::NOTHING, 3, 4);
  EXPECT_EQ(good.problem(), "");

  RegisterHistory stale = good;
  stale.read(1, 10, 21, 22);
  EXPECT_NE(stale.problem(), "") << "the value of before a write that was answered";
  RegisterHistory back = good;
  back.read(1, 10, 16, 17);
  EXPECT_NE(back.problem(), "") << "an older value than another has seen";
  RegisterHistory early = good;
  early.read(1, 12, 21, 22);
  EXPECT_NE(early.problem(), "") << "before it was written";
  RegisterHistory landed = good;
  landed.read(1, 12, 40, 41);
  EXPECT_EQ(landed.problem(), "") << "a write without an answer may take place";
  landed.read(1, 11, 42, 43);
  EXPECT_NE(landed.problem(), "") << "and is not undone";
}

}  // namespace
}  // namespace cairn
