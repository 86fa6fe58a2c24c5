// What a create costs: run by hand, with --gtest_also_run_disabled_tests --gtest_filter='*Bench*'.
// CAIRN_BENCH_DIRECTORY names where the log lies; a directory in memory leaves the sync's cost aside.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>

#include "common/system/disk.h"
#include "common/system/runtime.h"
#include "master/replica.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{11, 22};

double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void setLookup(wire::Query::Builder query, const std::string& name) {
  auto lookup = query.initLookup();
  lookup.setParent(raw(ROOT_INODE));
  lookup.setName(kj::arrayPtr(reinterpret_cast<const kj::byte*>(name.data()), name.size()));
}

class Bench {
 public:
  Bench() {
    const char* base = getenv("CAIRN_BENCH_DIRECTORY");
    std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/cairn_bench_XXXXXX";
    path_ = mkdtemp(pattern.data());
    auto disk = openSystemDisk(path_, *runtime_.workers);
    disk_ = kj::mv(disk.value());
    ReplicaOptions options;
    options.cluster = CLUSTER;
    options.member = "m1";
    ClusterFile cluster;
    cluster.cluster = CLUSTER;
    cluster.masters = {{"m1", "127.0.0.1:0", ""}};
    network_ = newPlainNetwork(runtime_.io);
    ReplicaSeams seams{*runtime_.clock, *runtime_.random,  *network_,
                       *disk_,          *runtime_.workers, *leveldb::Env::Default()};
    auto opening = openReplica(options, cluster, false, seams).promise();
    auto opened = opening.wait(runtime_.io.waitScope);
    KJ_REQUIRE(opened.ok(), opened.error().why);
    replica_ = kj::mv(opened.value());
    while (!replica_->isLeader()) {
      runtime_.clock->after(MILLISECOND).wait(runtime_.io.waitScope);
    }
    prepare();
  }
  ~Bench() noexcept(false) {
    replica_ = nullptr;
    EXPECT_EQ(system(("rm -rf " + path_).c_str()), 0);
  }

  // Until everything applied is in LevelDB.
  void settle() { runtime_.clock->after(2 * SECOND).wait(runtime_.io.waitScope); }

  void ask(const char* what, uint64_t count, const std::function<void(wire::Query::Builder, uint64_t)>& fill) {
    double cpu = cpuSeconds();
    for (uint64_t i = 0; i < count; ++i) {
      capnp::MallocMessageBuilder query;
      capnp::MallocMessageBuilder answer;
      auto root = query.initRoot<wire::Query>();
      root.initCaller();
      fill(root, i);
      replica_->reader().answer(root, answer.initRoot<wire::Answer>());
    }
    printf("%s: %.1f us of CPU each\n", what, (cpuSeconds() - cpu) / static_cast<double>(count) * 1e6);
  }

  // `total` creates over as many directories as there are in flight, `width` at a time.
  void run(unsigned width, uint64_t total) {
    left_ = total;
    double cpu = cpuSeconds();
    auto start = std::chrono::steady_clock::now();
    auto lanes = kj::heapArrayBuilder<kj::Promise<void>>(width);
    for (unsigned i = 0; i < width; ++i) {
      lanes.add(lane(i));
    }
    kj::joinPromises(lanes.finish()).wait(runtime_.io.waitScope);
    std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    double count = static_cast<double>(total);
    printf("%2u in flight: %.0f creates/s, %.1f us each, %.1f us of CPU each\n", width, count / wall.count(),
           wall.count() / count * 1e6 * (width == 1 ? 1 : 0), (cpuSeconds() - cpu) / count * 1e6);
  }

 private:
  Applied wait(Task<Result<Applied>> task) {
    auto promise = kj::mv(task).promise();
    auto result = promise.wait(runtime_.io.waitScope);
    KJ_REQUIRE(result.ok(), result.error().why);
    return kj::mv(result.value());
  }

  void prepare() {
    capnp::MallocMessageBuilder format;
    toWire(CLUSTER, format.initRoot<wire::Command>().initFormat().initCluster());
    format.getRoot<wire::Command>().getFormat().initClasses(1)[0].setCopies(3);
    wait(replica_->propose(format));
    capnp::MallocMessageBuilder open;
    open.initRoot<wire::Command>().initOpenSession().initNonce().setLow(1);
    session_ = wait(replica_->propose(open)).changes.opened;
  }

  Task<void> lane(unsigned number) {
    while (left_ > 0) {
      --left_;
      std::string name = "file-number-" + std::to_string(left_);
      capnp::MallocMessageBuilder message;
      auto client = message.initRoot<wire::Command>().initClient();
      client.setSession(raw(session_));
      client.setSlot(static_cast<uint8_t>(number));
      client.setSequence(++sequence_);
      auto op = client.initOp();
      op.initCaller();
      auto make = op.initMake();
      make.setParent(raw(ROOT_INODE));
      make.setName(kj::arrayPtr(reinterpret_cast<const kj::byte*>(name.data()), name.size()));
      make.setMode(S_IFREG | 0644);
      auto applied = co_await replica_->propose(message);
      KJ_REQUIRE(applied.ok(), applied.error().why);
    }
  }

  Runtime runtime_;
  std::string path_;
  kj::Own<Network> network_;
  kj::Own<Disk> disk_;
  kj::Own<Replica> replica_;
  SessionId session_{};
  uint64_t sequence_ = 0;
  uint64_t left_ = 0;
};

TEST(ReplicaBench, DISABLED_Creates) {
  Bench bench;
  bench.run(1, 2000);
  bench.run(64, 100000);
  bench.run(64, 100000);
  bench.settle();
  bench.ask("lookups of names that are there", 100000, [](wire::Query::Builder query, uint64_t number) {
    setLookup(query, "file-number-" + std::to_string(number * 7919 % 100000));
  });
  bench.ask("lookups of names that aren't", 100000, [](wire::Query::Builder query, uint64_t number) {
    setLookup(query, "no-such-file-" + std::to_string(number));
  });
  bench.ask("attributes", 100000,
            [](wire::Query::Builder query, uint64_t number) { query.setAttributes(2 + number * 7919 % 100000); });
  bench.ask("directory pages of 512 with attributes", 200, [](wire::Query::Builder query, uint64_t number) {
    auto read = query.initReadDirectory();
    read.setInode(raw(ROOT_INODE));
    read.setCookie(16 + number * 512);
    read.setEntriesMax(512);
    read.setWithAttributes(true);
  });
}

}  // namespace
}  // namespace cairn
