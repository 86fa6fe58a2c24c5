// One volume in a simulated world: opened by a simulated process that can stop in good order, be killed, or lose
// its power; and requests in few words.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "chunkserver/store/chunk_format.h"
#include "chunkserver/store/volume_store.h"
#include "common/checksum.h"
#include "tests/sim/world/world.h"

namespace cairn {

constexpr ClusterId TEST_CLUSTER{11, 12};
constexpr ServerId TEST_SERVER{21, 22};
constexpr ShardId TEST_SHARD{3};
constexpr Nanos PATIENCE = 600 * SECOND;

inline ChunkKey keyOf(uint64_t object, uint32_t index = 0) {
  return ChunkKey{TEST_SHARD, ChunkId{ObjectId{object}, index}};
}

// Bytes that tell where they belong and which writing they are of.
inline std::vector<kj::byte> pattern(uint64_t seed, size_t size) {
  auto generator = Generator::fromSeed(seed);
  std::vector<kj::byte> bytes(size);
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = generator.next();
    memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

// A piece with its checksums and its memory.
struct TestPiece {
  TestPiece(uint32_t offset, std::vector<kj::byte> data) : offset(offset), data(std::move(data)) {
    uint64_t end = offset + this->data.size();
    for (uint64_t at = offset; at < end;) {
      uint64_t to = std::min<uint64_t>(end, (at / BLOCK_BYTES + 1) * BLOCK_BYTES);
      sums.push_back(blockChecksum(kj::arrayPtr(this->data.data() + (at - offset), to - at)));
      at = to;
    }
  }
  WritePiece piece() const {
    return WritePiece{offset, kj::arrayPtr(data.data(), data.size()), kj::arrayPtr(sums.data(), sums.size())};
  }
  uint32_t offset;
  std::vector<kj::byte> data;
  std::vector<uint64_t> sums;
};

class TestTarget final : public ReadTarget {
 public:
  kj::ArrayPtr<kj::byte> bytes(size_t size) override {
    EXPECT_FALSE(asked) << "room asked for twice";
    asked = true;
    data.assign(size, 0xee);
    return kj::arrayPtr(data.data(), data.size());
  }
  void sums(kj::ArrayPtr<const uint64_t> sums) override { checksums.assign(sums.begin(), sums.end()); }

  bool asked = false;
  std::vector<kj::byte> data;
  std::vector<uint64_t> checksums;
};

// What a read gave, as a reader sees it.
struct TestRead {
  int code = 0;
  std::vector<kj::byte> bytes;       // as long as asked for
  std::vector<uint32_t> unreadable;  // blocks whose checksum doesn't match
};

class StoreWorld {
 public:
  explicit StoreWorld(uint64_t seed) : StoreWorld(kj::heap<World>(seed)) {}
  // One of several volumes in a world.
  StoreWorld(World& world, const std::string& name) : world(world), volume(world.volume(name)) {
    options.cluster = TEST_CLUSTER;
    options.server = TEST_SERVER;
    options.create = true;
    context.shard = TEST_SHARD;
    context.epoch = Epoch{1};
  }
  ~StoreWorld() noexcept(false) { kill(); }

  Status tryOpen() {
    process_ = std::make_unique<Process>();
    process_->disk = volume.open();
    process_->env = world.newEnv();
    process_->workers = world.newWorkers("chunkserver" + std::to_string(++starts_));
    process_->random = world.random("chunkserver" + std::to_string(starts_));
    auto opened =
        openVolume(*process_->disk, *process_->env, world.clock(), *process_->workers, *process_->random, options);
    if (!opened.ok()) {
      process_ = nullptr;
      return opened.error();
    }
    process_->store = kj::mv(opened.value());
    return {};
  }
  void open() {
    auto status = tryOpen();
    ASSERT_TRUE(status.ok()) << status.error().why;
  }
  void close() {
    auto status = world.await(store().close(), PATIENCE);
    ASSERT_TRUE(status.ok()) << status.error().why;
    kill();
  }
  void kill() {
    if (process_) {
      volume.processDied();
      process_ = nullptr;
    }
  }
  void cutPower() {
    volume.powerCut();
    process_ = nullptr;
  }
  VolumeStore& store() { return *process_->store; }

  template <typename T>
  T await(Task<T> task) {
    return world.await(kj::mv(task), PATIENCE);
  }
  Result<Mutated> write(ChunkKey key, uint32_t offset, std::vector<kj::byte> data) {
    TestPiece piece(offset, std::move(data));
    WritePiece wire = piece.piece();
    return await(store().write(key.chunk, context, kj::arrayPtr(&wire, 1)));
  }
  Result<Mutated> punch(ChunkKey key, uint32_t offset, uint32_t length) {
    return await(store().punch(key.chunk, context, offset, length));
  }
  Status sync(ChunkKey key) { return await(store().sync(key)); }
  TestRead read(ChunkKey key, uint32_t offset, uint32_t length) { return readUnder(context, key, offset, length); }
  TestRead readUnder(const ChunkContext& under, ChunkKey key, uint32_t offset, uint32_t length) {
    TestTarget target;
    TestRead out;
    out.code = await(store().read(key.chunk, under, offset, length, target)).code();
    if (out.code != 0) {
      return out;
    }
    EXPECT_EQ(target.data.size(), target.checksums.size() * BLOCK_BYTES);
    for (size_t i = 0; i < target.checksums.size(); i++) {
      auto block = kj::arrayPtr(target.data.data() + i * BLOCK_BYTES, BLOCK_BYTES);
      bool zero = std::all_of(block.begin(), block.end(), [](kj::byte b) { return b == 0; });
      bool good = target.checksums[i] == 0 ? zero : blockChecksum(block) == target.checksums[i];
      if (!good) {
        out.unreadable.push_back(offset / BLOCK_BYTES + static_cast<uint32_t>(i));
      }
    }
    out.bytes = std::move(target.data);
    out.bytes.resize(length);
    return out;
  }
  ChunkDescription describe(ChunkKey key) {
    auto described = await(store().describe(key));
    EXPECT_TRUE(described.ok()) << described.error().why;
    return described.ok() ? described.value() : ChunkDescription();
  }
  void maintainFor(Nanos time) {
    for (Nanos passed = 0; passed < time; passed += SECOND) {
      auto status = await(store().maintain());
      ASSERT_TRUE(status.ok()) << status.error().why;
      world.runFor(SECOND);
    }
  }

  World& world;
  SimVolume& volume;
  VolumeOptions options;
  ChunkContext context;

 private:
  explicit StoreWorld(kj::Own<World> own) : StoreWorld(*own, "disk") { own_ = kj::mv(own); }

  struct Process {
    kj::Own<Disk> disk;
    std::unique_ptr<leveldb::Env> env;
    kj::Own<SimWorkers> workers;
    kj::Own<SimRandom> random;
    kj::Own<VolumeStore> store;
  };
  kj::Own<World> own_;
  std::unique_ptr<Process> process_;
  unsigned starts_ = 0;
};

inline std::vector<kj::byte> zeros(size_t size) {
  return std::vector<kj::byte>(size);
}

inline void expectBytes(StoreWorld& w, ChunkKey key, uint32_t offset, const std::vector<kj::byte>& bytes) {
  uint32_t first = offset / BLOCK_BYTES * BLOCK_BYTES;
  uint32_t end = (offset + static_cast<uint32_t>(bytes.size()) + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
  auto read = w.read(key, first, end - first);
  ASSERT_EQ(read.code, 0);
  EXPECT_TRUE(read.unreadable.empty());
  auto from = read.bytes.begin() + (offset - first);
  EXPECT_EQ(std::vector<kj::byte>(from, from + static_cast<ptrdiff_t>(bytes.size())), bytes);
}

}  // namespace cairn
