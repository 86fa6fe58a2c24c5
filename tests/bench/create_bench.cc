// How many files a second one client library process creates in a running cluster, and how many it then looks up:
// create_bench CLUSTER_FILE [COUNT [IN_FLIGHT [MASTER_DIRECTORY [IN_DIRECTORY]]]]. They go into new directories of the
// root, IN_DIRECTORY into each (all into one when it isn't said), and stay there. With the leader's directory
// ("": none) it says how often that one synced its log for the creates.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>
#include <sstream>

#include "common/log.h"
#include "common/system/runtime.h"
#include "fuse-client/client/client.h"
#include "master/log/record.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

// A record says what was durable when it was written, and the log doesn't write again before its sync has ended: so
// many different values, so many syncs. They are counted on the disk, whatever the master believes.
class LogSyncs {
 public:
  explicit LogSyncs(std::string masterDirectory) : directory_(std::move(masterDirectory) + "/log") {}

  // Since the last call.
  uint64_t count() {
    std::set<uint64_t> durable;
    uint64_t last = last_;
    for (const auto& file : std::filesystem::directory_iterator(directory_)) {
      auto number = segmentNumber(file.path().filename());
      if (!number) {
        continue;
      }
      std::ifstream in(file.path(), std::ios::binary);
      std::string bytes{std::istreambuf_iterator<char>(in), {}};
      auto segment = kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size());
      uint64_t offset = SEGMENT_HEADER_BYTES;
      while (auto record = parseRecord(segment, offset, *number)) {
        if (record->header.index > last_) {
          durable.insert(record->header.synced);
          last = std::max(last, record->header.index);
        }
        offset = record->end;
      }
    }
    last_ = last;
    return durable.size();
  }

 private:
  const std::string directory_;
  uint64_t last_ = 0;  // entry that was counted
};

class Bench {
 public:
  Bench(ClusterFile cluster, uint64_t count, const char* masterDirectory, uint64_t inDirectory)
      : network_(newPlainNetwork(runtime_.io)),
        client_(*runtime_.clock, *network_, *runtime_.random, kj::mv(cluster), options()),
        count_(count),
        inDirectory_(inDirectory) {
    if (*masterDirectory != '\0') {
      syncs_.emplace(masterDirectory);
      KJ_REQUIRE(syncs_->count() > 0, "no log of a master there", masterDirectory);
    }
  }

  void run(unsigned inFlight) {
    require(wait(client_.start()));
    for (uint64_t i = 0; i * inDirectory_ < count_; ++i) {
      std::string name = "create_bench-" + std::to_string(getpid()) + "-" + std::to_string(i);
      auto made = wait(client_.makeDirectory(ROOT_INODE, name, 0755, Caller{}));
      KJ_REQUIRE(made.ok(), made.error().why);
      directories_.push_back(made.value().inode);
    }
    measure("creates", inFlight, &Bench::create);
    measure("lookups", inFlight, &Bench::lookUp);
    require(wait(client_.stop()));
  }

 private:
  static ClientOptions options() {
    ClientOptions out;
    out.name = "create_bench";
    return out;
  }

  template <typename T>
  T wait(Task<T> task) {
    kj::Promise<T> promise = kj::mv(task);
    return promise.wait(runtime_.io.waitScope);
  }

  using Step = Task<void> (Bench::*)(InodeId directory, std::string name);

  void measure(const char* what, unsigned inFlight, Step step) {
    next_ = 0;
    nanos_.clear();
    Nanos began = runtime_.clock->monotonic();
    auto lanes = kj::heapArrayBuilder<kj::Promise<void>>(inFlight);
    for (unsigned i = 0; i < inFlight; ++i) {
      lanes.add(lane(step).promise());
    }
    kj::joinPromises(lanes.finish()).wait(runtime_.io.waitScope);
    double seconds = static_cast<double>(runtime_.clock->monotonic() - began) / SECOND;
    std::sort(nanos_.begin(), nanos_.end());
    auto micros = [this](size_t percent) {
      return static_cast<double>(nanos_[nanos_.size() * percent / 100]) / MICROSECOND;
    };
    printf("%.0f %s/s, %u in flight; median %.0f us, p99 %.0f us\n", static_cast<double>(count_) / seconds, what,
           inFlight, micros(50), micros(99));
    if (syncs_) {
      printf("  %.0f syncs/s of that log\n", static_cast<double>(syncs_->count()) / seconds);
    }
  }

  static void require(const Status& status) { KJ_REQUIRE(status.ok(), status.error().why); }

  Task<void> lane(Step step) {
    while (next_ < count_) {
      InodeId directory = directories_[next_ / inDirectory_];
      std::string name = "file" + std::to_string(next_++);
      Nanos began = runtime_.clock->monotonic();
      co_await (this->*step)(directory, name);
      nanos_.push_back(runtime_.clock->monotonic() - began);
    }
  }

  Task<void> create(InodeId directory, std::string name) {
    Caller root;
    auto made = co_await client_.makeNode(directory, name, S_IFREG | 0644, 0, root);
    KJ_REQUIRE(made.ok(), made.error().why);
  }

  Task<void> lookUp(InodeId directory, std::string name) {
    Caller root;
    auto found = co_await client_.lookup(directory, name, root);
    KJ_REQUIRE(found.ok(), found.error().why);
  }

  Runtime runtime_{1};
  kj::Own<Network> network_;
  Client client_;
  const uint64_t count_;
  const uint64_t inDirectory_;
  uint64_t next_ = 0;
  std::optional<LogSyncs> syncs_;
  std::vector<InodeId> directories_;
  std::vector<Nanos> nanos_;
};

int benchMain(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: create_bench CLUSTER_FILE [COUNT [IN_FLIGHT [MASTER_DIRECTORY [IN_DIRECTORY]]]]\n";
    return 64;
  }
  std::ifstream file(argv[1]);
  std::stringstream text;
  text << file.rdbuf();
  auto cluster = parseClusterFile(text.str(), argv[1]);
  KJ_REQUIRE(cluster.ok(), cluster.error().why);
  uint64_t count = argc > 2 ? strtoull(argv[2], nullptr, 10) : 20000;
  unsigned inFlight = argc > 3 ? static_cast<unsigned>(strtoul(argv[3], nullptr, 10)) : 64;
  uint64_t inDirectory = argc > 5 ? strtoull(argv[5], nullptr, 10) : count;
  KJ_REQUIRE(count > 0 && inFlight > 0 && inDirectory > 0, "COUNT, IN_FLIGHT and IN_DIRECTORY are numbers above 0");
  startLogging("create_bench", "warning");
  Bench(kj::mv(cluster.value()), count, argc > 4 ? argv[4] : "", inDirectory).run(inFlight);
  return 0;
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  return cairn::benchMain(argc, argv);
}
