// What the chunk store costs on a real disk: store_bench DIRECTORY (an empty one; what it writes there stays).
// Prints wall and CPU time per operation and, for large writes, CPU time per byte beside that of what can't be left
// out: the checksums and the copies into the page cache.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "chunkserver/store/volume_store.h"
#include "common/checksum.h"
#include "common/generator.h"
#include "common/system/disk.h"
#include "common/system/runtime.h"

namespace cairn {
namespace {

constexpr ShardId SHARD{1};

struct Data {
  explicit Data(size_t size) : bytes(size) {
    auto generator = Generator::fromSeed(size);
    for (auto& byte : bytes) {
      byte = static_cast<kj::byte>(generator.next());
    }
    for (size_t at = 0; at < size; at += BLOCK_BYTES) {
      sums.push_back(blockChecksum(kj::arrayPtr(bytes.data() + at, std::min<size_t>(BLOCK_BYTES, size - at))));
    }
  }
  std::vector<kj::byte> bytes;
  std::vector<uint64_t> sums;
};

class Target final : public ReadTarget {
 public:
  explicit Target(size_t size) : memory(kj::heapArray<kj::byte>(size)) {}
  kj::ArrayPtr<kj::byte> bytes(size_t size) override { return memory.slice(0, size); }
  void sums(kj::ArrayPtr<const uint64_t> sums) override { count = sums.size(); }
  kj::Array<kj::byte> memory;
  size_t count = 0;
};

double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Bench {
 public:
  explicit Bench(const std::string& directory) : disk_(openSystemDisk(directory, *runtime_.workers).value()) {
    VolumeOptions options;
    options.cluster = ClusterId{1, 1};
    options.server = ServerId{2, 2};
    options.create = true;
    auto opened =
        openVolume(*disk_, *leveldb::Env::Default(), *runtime_.clock, *runtime_.workers, *runtime_.random, options);
    KJ_REQUIRE(opened.ok(), opened.error().why);
    store_ = kj::mv(opened.value());
    context_.shard = SHARD;
    context_.epoch = Epoch{1};
  }

  void all() {
    Data mib(1 << 20);
    Data block(BLOCK_BYTES);
    measure("write 1 MiB, new blocks", 512, mib.bytes.size(), [&](unsigned i) { write(i / 4, (i % 4) << 20, mib); });
    measure("write 1 MiB, overwrite", 512, mib.bytes.size(), [&](unsigned i) { write(i / 4, (i % 4) << 20, mib); });
    measure("read 1 MiB, warm", 512, mib.bytes.size(), [&](unsigned i) { read(i / 4, (i % 4) << 20, 1 << 20); });
    measure("read 4 KiB, warm", 50'000, BLOCK_BYTES, [&](unsigned i) { read(i % 100, i % 1000 * 4096, 4096); });
    measure("write 4 KiB, overwrite", 50'000, BLOCK_BYTES, [&](unsigned i) { write(i % 100, i % 1000 * 4096, block); });
    measure("write 100 bytes, in place", 50'000, 100, [&](unsigned i) { write(i % 100, i % 1000 * 4096 + 7, small_); });
    measure("write 4 KiB + sync", 500, BLOCK_BYTES, [&](unsigned i) {
      write(1, i * 4096, block);
      sync(1);
    });
    measure("new 4 KiB chunk", 50'000, BLOCK_BYTES, [&](unsigned i) { write(1000 + i, 0, block); });
    measure("new 4 KiB chunk + sync", 500, BLOCK_BYTES, [&](unsigned i) {
      write(100'000 + i, 0, block);
      sync(100'000 + i);
    });
    measure("  for comparison: checksums of 1 MiB", 512, mib.bytes.size(), [&](unsigned) {
      for (size_t at = 0; at < mib.bytes.size(); at += BLOCK_BYTES) {
        KJ_ASSERT(blockChecksum(kj::arrayPtr(mib.bytes.data() + at, BLOCK_BYTES)) != 0);
      }
    });
    auto plain = disk_->open("plain", Disk::Mode::CREATE).value();
    for (const char* what : {"  for comparison: pwrite of 1 MiB, new", "  for comparison: pwrite of 1 MiB, again"}) {
      measure(what, 512, mib.bytes.size(), [&](unsigned i) {
        KJ_ASSERT(plain->write(uint64_t{i} << 20, kj::arrayPtr(mib.bytes.data(), mib.bytes.size())).ok());
      });
    }
    auto counters = store_->counters();
    printf("%lu file syncs, %lu index syncs, %lu KiB cached, %lu files open\n", counters.fileSyncs, counters.indexSyncs,
           counters.cachedBytes >> 10, counters.openFiles);
  }

 private:
  template <typename T>
  T await(Task<T> task) {
    return kj::mv(task).promise().wait(runtime_.io.waitScope);
  }
  static ChunkId chunk(unsigned number) { return ChunkId{ObjectId{number + 1}, 0}; }
  void write(unsigned number, uint32_t offset, const Data& data) {
    WritePiece piece{offset, kj::arrayPtr(data.bytes.data(), data.bytes.size()),
                     kj::arrayPtr(data.sums.data(), data.sums.size())};
    auto written = await(store_->write(chunk(number), context_, kj::arrayPtr(&piece, 1)));
    KJ_REQUIRE(written.ok(), written.error().why);
  }
  void read(unsigned number, uint32_t offset, uint32_t length) {
    auto status = await(store_->read(chunk(number), context_, offset, length, target_));
    KJ_REQUIRE(status.ok() && target_.count == length / BLOCK_BYTES);
  }
  void sync(unsigned number) {
    auto status = await(store_->sync(ChunkKey{SHARD, chunk(number)}));
    KJ_REQUIRE(status.ok());
  }
  void measure(const char* what, unsigned count, size_t bytes, const std::function<void(unsigned)>& one) {
    Nanos wall = runtime_.clock->monotonic();
    double cpu = cpuSeconds();
    for (unsigned i = 0; i < count; i++) {
      one(i);
    }
    cpu = cpuSeconds() - cpu;
    double seconds = static_cast<double>(runtime_.clock->monotonic() - wall) / 1e9;
    printf("%-42s %9.1f us each, CPU %8.1f us", what, seconds / count * 1e6, cpu / count * 1e6);
    if (bytes >= 1 << 20) {
      printf(", %.3f ns a byte, %.0f MiB/s", cpu / count * 1e9 / static_cast<double>(bytes),
             static_cast<double>(bytes) * count / seconds / (1 << 20));
    }
    printf("\n");
    fflush(stdout);
  }

  Runtime runtime_;
  kj::Own<Disk> disk_;
  kj::Own<VolumeStore> store_;
  ChunkContext context_;
  Target target_{1 << 20};
  Data small_{100};
};

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: store_bench DIRECTORY\n");
    return 2;
  }
  cairn::Bench bench(argv[1]);
  bench.all();
  return 0;
}
