// Random operations against the model, with good stops, kills and power cuts.
#include <cstdlib>

#include "tests/unit/chunkserver/store_model.h"

namespace cairn {
namespace {

constexpr uint8_t CHUNK_BITS = 18;  // 256 KiB: past the small ones, and cheap
constexpr uint32_t CHUNK_BYTES = 1 << CHUNK_BITS;
constexpr uint32_t BLOCKS = CHUNK_BYTES / BLOCK_BYTES;
constexpr uint64_t OBJECTS = 3;
constexpr uint32_t INDEXES = 2;

class RandomOps {
 public:
  explicit RandomOps(uint64_t seed) : w(seed), random_(seed, "operations") {
    w.options.openFilesMax = 3;
    w.options.cachedBytesMax = 200 << 10;
    for (uint64_t object = 1; object <= OBJECTS; object++) {
      for (uint32_t index = 0; index < INDEXES; index++) {
        model_.emplace(keyOf(object, index), ModelChunk(BLOCKS));
      }
      layouts_[object].generation = 1;
    }
    w.open();
    noteClean();
  }

  void run(unsigned steps) {
    for (step_ = 0; step_ < steps && !testing::Test::HasFailure(); step_++) {
      one();
    }
    if (!testing::Test::HasFailure()) {
      restartInGoodOrder();
    }
  }
  unsigned step() const { return step_; }
  // The last operations, for whoever has to find out why it failed.
  std::string history() const {
    std::string text;
    for (size_t i = history_.size() > 60 ? history_.size() - 60 : 0; i < history_.size(); i++) {
      text += history_[i] + "\n";
    }
    return text;
  }

 private:
  struct Layout {
    uint32_t generation = 0;
    std::vector<ChunkCut> cuts;
  };

  void one() {
    ChunkKey key = keyOf(1 + random_.below(OBJECTS), static_cast<uint32_t>(random_.below(INDEXES)));
    switch (random_.below(40)) {
      case 0:
        return restartInGoodOrder();
      case 1:
        return crash(false);
      case 2:
      case 3:
        return crash(true);
      case 4:
        return crashInTheMiddle();
      case 5:
        return remove(key);
      case 6:
      case 7:
        return cut(key);
      case 8:
        return confirmCuts(raw(key.chunk.object));
      case 9:
        note("maintain");
        w.maintainFor(static_cast<Nanos>(1 + random_.below(25)) * SECOND);
        return noteClean();
      case 10:
        return install(key);
      case 11:
      case 12:
        return punch(key);
      case 13:
      case 14:
      case 15:
      case 16:
      case 17:
        return sync(key);
      case 18:
      case 19:
        return check(key);
      case 20:
        return readWhileWriting(key);
      default:
        return write(key);
    }
  }

  void note(const std::string& what, ChunkKey key = keyOf(0), const std::string& more = "") {
    std::string chunk = key == keyOf(0) ? "" : chunkFileName(key.chunk) + " ";
    history_.push_back(std::to_string(step_) + " " + what + " " + chunk + more);
  }

  const ChunkContext& contextOf(ChunkKey key) {
    const Layout& layout = layouts_[raw(key.chunk.object)];
    w.context.chunkBits = CHUNK_BITS;
    w.context.generation = layout.generation;
    w.context.cuts = layout.cuts;
    w.context.epoch = epoch_;
    w.context.hints.inode = InodeId{raw(key.chunk.object)};
    w.context.hints.path = "some/where";
    return w.context;
  }

  std::vector<TestPiece> newPieces() {
    std::vector<TestPiece> pieces;
    size_t count = random_.chance(800'000) ? 1 : 1 + random_.below(4);
    for (size_t i = 0; i < count; i++) {
      bool aligned = random_.chance(400'000);
      uint32_t offset = static_cast<uint32_t>(random_.below(random_.chance(500'000) ? 70'000 : CHUNK_BYTES));
      offset = aligned ? offset / BLOCK_BYTES * BLOCK_BYTES : offset;
      uint32_t size = 1 + static_cast<uint32_t>(random_.below(random_.chance(500'000) ? 6000 : 90'000));
      size = aligned ? (size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES : size;
      pieces.emplace_back(offset, pattern(random_.next(), std::min(size, CHUNK_BYTES - offset)));
    }
    return pieces;
  }

  void write(ChunkKey key) {
    auto pieces = newPieces();
    std::vector<WritePiece> wire;
    for (auto& piece : pieces) {
      wire.push_back(piece.piece());
      note("write", key, std::to_string(piece.offset) + "+" + std::to_string(piece.data.size()));
    }
    auto written = w.await(w.store().write(key.chunk, contextOf(key), kj::arrayPtr(wire.data(), wire.size())));
    ASSERT_TRUE(written.ok()) << written.error().why;
    ModelChunk& chunk = model_.at(key);
    uint32_t before = chunk.allocated();
    for (auto& piece : pieces) {
      chunk.write(piece.offset, piece.data);
    }
    expectDelta(key, before, written.value());
  }

  // A cut that the request carries may be what freed blocks: so the sum over all chunks is compared.
  void expectDelta(ChunkKey key, uint32_t, const Mutated& applied) {
    applied_[key] += applied.allocatedDelta;
    EXPECT_EQ(applied_[key], int64_t{model_.at(key).allocated()} * BLOCK_BYTES);
  }

  void punch(ChunkKey key) {
    uint32_t offset = static_cast<uint32_t>(random_.below(CHUNK_BYTES));
    uint32_t length = static_cast<uint32_t>(random_.below(CHUNK_BYTES - offset + 1));
    note("punch", key, std::to_string(offset) + "+" + std::to_string(length));
    auto punched = w.await(w.store().punch(key.chunk, contextOf(key), offset, length));
    ASSERT_TRUE(punched.ok()) << punched.error().why;
    uint32_t before = model_.at(key).allocated();
    model_.at(key).punch(offset, length);
    expectDelta(key, before, punched.value());
  }

  void remove(ChunkKey key) {
    note("remove", key);
    auto removed = w.await(w.store().remove(key));
    ASSERT_TRUE(removed.ok()) << removed.error().why;
    model_.at(key).remove(true);
    applied_[key] = 0;
  }

  // A shrinking truncate: the layout has it at once, the chunks get to know it by and by.
  void cut(ChunkKey key) {
    uint64_t object = raw(key.chunk.object);
    Layout& layout = layouts_[object];
    if (layout.cuts.size() == 4) {
      return confirmCuts(object);
    }
    uint64_t dead = random_.below(INDEXES * uint64_t{CHUNK_BYTES});
    layout.generation++;
    note("cut", key, std::to_string(layout.generation) + " at " + std::to_string(dead));
    layout.cuts.push_back(ChunkCut{layout.generation, dead});
    for (uint32_t index = 0; index < INDEXES; index++) {
      uint64_t start = index * uint64_t{CHUNK_BYTES};
      uint64_t deadHere = dead > start ? dead - start : 0;
      model_.at(keyOf(object, index)).cut(deadHere);
      auto clean = clean_.find(keyOf(object, index));
      if (clean != clean_.end()) {
        clean->second.cut(deadHere);
      }
    }
  }

  void confirmCuts(uint64_t object) {
    note("confirm cuts of " + std::to_string(object));
    for (uint32_t index = 0; index < INDEXES; index++) {
      ChunkKey key = keyOf(object, index);
      auto applied = w.await(w.store().applyCuts(key.chunk, contextOf(key)));
      ASSERT_TRUE(applied.ok()) << applied.error().why;
      applied_[key] = int64_t{model_.at(key).allocated()} * BLOCK_BYTES;
      sync(key);
      model_.at(key).cuts.clear();
    }
    layouts_[object].cuts.clear();
  }

  void install(ChunkKey key) {
    ModelChunk& chunk = model_.at(key);
    note("install", key);
    std::vector<uint64_t> sums(random_.below(BLOCKS + 1));
    std::vector<kj::byte> bytes;
    uint32_t before = chunk.allocated();
    chunk.punch(0, CHUNK_BYTES);
    for (uint32_t block = 0; block < sums.size(); block++) {
      if (random_.chance(600'000)) {
        auto data = pattern(random_.next(), BLOCK_BYTES);
        sums[block] = blockChecksum(kj::arrayPtr(data.data(), data.size()));
        bytes.insert(bytes.end(), data.begin(), data.end());
        chunk.write(block * BLOCK_BYTES, data);
      }
    }
    while (!sums.empty() && sums.back() == 0) {
      sums.pop_back();
    }
    ImageView image;
    image.chunkBits = CHUNK_BITS;
    image.generation = layouts_[raw(key.chunk.object)].generation;
    image.lastEpoch = epoch_;
    image.sums = kj::arrayPtr(sums.data(), sums.size());
    image.bytes = kj::arrayPtr(bytes.data(), bytes.size());
    auto installed = w.await(w.store().install(key, image));
    ASSERT_TRUE(installed.ok()) << installed.error().why;
    chunk.present = true;
    expectDelta(key, before, installed.value());
  }

  void sync(ChunkKey key) {
    note("sync", key);
    auto synced = w.sync(key);
    ASSERT_TRUE(synced.ok()) << synced.error().why;
    model_.at(key).synced();
  }

  void check(ChunkKey key) {
    uint32_t first = static_cast<uint32_t>(random_.below(BLOCKS));
    uint32_t count = 1 + static_cast<uint32_t>(random_.below(BLOCKS - first));
    auto read = w.readUnder(contextOf(key), key, first * BLOCK_BYTES, count * BLOCK_BYTES);
    ASSERT_EQ(read.code, 0);
    ASSERT_TRUE(read.unreadable.empty()) << describeKey(key);
    for (uint32_t i = 0; i < count; i++) {
      ASSERT_EQ(blockOf(read, i), bytesOf(model_.at(key).blocks[first + i].now))
          << describeKey(key) << " block " << first + i;
    }
  }

  // A read that waits for the device while writes overtake it sees some moment between its call and its answer.
  void readWhileWriting(ChunkKey key) {
    note("read while writing", key);
    w.volume.dropCache();
    ModelChunk before = model_.at(key);
    TestTarget target;
    ChunkContext context = contextOf(key);
    auto reading = w.store().read(key.chunk, context, 0, CHUNK_BYTES, target).promise();
    std::vector<ModelChunk> moments{before};
    for (unsigned i = 0; i < 3; i++) {
      write(key);
      moments.push_back(model_.at(key));
      w.world.runFor(static_cast<Nanos>(random_.below(200)) * MICROSECOND);
    }
    ASSERT_TRUE(w.await(Task<Result<void>>(kj::mv(reading))).ok());
    size_t blocks = target.checksums.size();
    auto agrees = [&](const ModelChunk& moment) {
      for (uint32_t block = 0; block < blocks; block++) {
        auto from = target.data.begin() + static_cast<ptrdiff_t>(block) * BLOCK_BYTES;
        if (BlockBytes(from, from + BLOCK_BYTES) != bytesOf(moment.blocks[block].now)) {
          return false;
        }
      }
      return true;
    };
    EXPECT_TRUE(std::any_of(moments.begin(), moments.end(), agrees)) << describeKey(key);
    for (uint32_t block = 0; block < blocks; block++) {
      auto bytes = kj::arrayPtr(target.data.data() + size_t{block} * BLOCK_BYTES, BLOCK_BYTES);
      bool matches = target.checksums[block] == 0 || target.checksums[block] == blockChecksum(bytes);
      ASSERT_TRUE(matches) << describeKey(key) << " block " << block;
    }
  }

  void restartInGoodOrder() {
    note("restart");
    w.close();
    w.open();
    EXPECT_FALSE(w.store().stoppedUnclean());
    EXPECT_FALSE(w.store().indexRebuilt());
    EXPECT_EQ(w.store().counters().dirtyChunks, 0u);
    uint64_t used = 0;
    for (auto& [key, chunk] : model_) {
      chunk.synced();
      auto described = w.describe(key);
      EXPECT_TRUE(described.bad.empty() && described.torn.empty());
      auto read = w.readUnder(contextOf(key), key, 0, CHUNK_BYTES);
      for (uint32_t block = 0; block < BLOCKS; block++) {
        ASSERT_EQ(blockOf(read, block), bytesOf(chunk.blocks[block].now)) << describeKey(key) << " block " << block;
      }
      used += described.present ? described.allocatedBytes : 0;
    }
    EXPECT_EQ(w.store().space().usedBytes, used);
    noteClean();
  }

  // What chunks without a dirty mark hold: they must hold it after any crash, until they have a mark.
  void noteClean() {
    auto dirty = w.store().dirtyChunks(TEST_SHARD);
    for (auto& [key, chunk] : model_) {
      if (std::find(dirty.begin(), dirty.end(), key.chunk) == dirty.end()) {
        clean_.insert_or_assign(key, chunk);
      }
    }
  }

  // Several operations under way when the power goes: each may have happened or not.
  void crashInTheMiddle() {
    std::vector<kj::Own<ChunkContext>> contexts;
    std::vector<kj::Own<TestPiece>> pieces;
    std::vector<kj::Own<WritePiece>> wires;
    std::vector<kj::Promise<void>> tasks;
    for (unsigned i = 0; i < 6; i++) {
      ChunkKey key = keyOf(1 + random_.below(OBJECTS), static_cast<uint32_t>(random_.below(INDEXES)));
      if (random_.chance(300'000)) {
        note("begin sync", key);
        tasks.push_back(w.store().sync(key).promise().ignoreResult());
        continue;
      }
      uint32_t first = static_cast<uint32_t>(random_.below(BLOCKS));
      uint32_t count = 1 + static_cast<uint32_t>(random_.below(std::min(BLOCKS - first, 20u)));
      contexts.push_back(kj::heap<ChunkContext>(contextOf(key)));
      pieces.push_back(kj::heap<TestPiece>(first * BLOCK_BYTES, pattern(random_.next(), count * BLOCK_BYTES)));
      wires.push_back(kj::heap<WritePiece>(pieces.back()->piece()));
      model_.at(key).write(pieces.back()->offset, pieces.back()->data, false);
      note("begin write", key, std::to_string(first) + "+" + std::to_string(count) + " blocks");
      auto wire = kj::arrayPtr(wires.back().get(), 1);
      tasks.push_back(w.store().write(key.chunk, *contexts.back(), wire).promise().ignoreResult());
    }
    w.world.runFor(static_cast<Nanos>(random_.below(3000)) * MICROSECOND);
    tasks.clear();
    crash(true);
  }

  void crash(bool power) {
    w.world.runFor(static_cast<Nanos>(random_.below(2) * random_.below(20)) * MILLISECOND);
    note(power ? "power cut" : "kill");
    power ? w.cutPower() : w.kill();
    epoch_ = next(epoch_);
    w.open();
    EXPECT_FALSE(w.store().indexRebuilt());
    if (random_.chance(500'000)) {
      auto rechecked = w.await(w.store().recheck());
      ASSERT_TRUE(rechecked.ok()) << rechecked.error().why;
    }
    for (auto& entry : model_) {
      recover(entry.first, power);
    }
    noteClean();
    uint64_t used = 0;
    for (auto& entry : model_) {
      used += w.describe(entry.first).allocatedBytes;
    }
    EXPECT_EQ(w.store().space().usedBytes, used);
  }

  void recover(ChunkKey key, bool power) {
    ModelChunk& chunk = model_.at(key);
    auto described = w.describe(key);
    auto read = w.readUnder(contextOf(key), key, 0, CHUNK_BYTES);
    ASSERT_EQ(read.code, 0);
    ASSERT_TRUE(described.bad.empty()) << describeKey(key) << ": rot after a crash";
    ASSERT_TRUE(
        std::includes(described.torn.begin(), described.torn.end(), read.unreadable.begin(), read.unreadable.end()))
        << describeKey(key);
    bool differs = false;
    for (uint32_t block = 0; block < BLOCKS; block++) {
      ModelBlock& model = chunk.blocks[block];
      bool unreadable = std::binary_search(read.unreadable.begin(), read.unreadable.end(), block);
      ASSERT_TRUE(!unreadable || chunk.mayBeTorn(block)) << describeKey(key) << ": fsynced block " << block << " torn";
      ASSERT_TRUE(unreadable || chunk.allows(block, blockOf(read, block)))
          << describeKey(key) << ": block " << block << " is none of its " << model.legal.size() << " versions";
      auto clean = clean_.find(key);
      bool same = clean != clean_.end() && bytesOf(clean->second.blocks[block].now) == blockOf(read, block);
      differs = differs || unreadable || !same;
    }
    ASSERT_TRUE(!differs || !described.present || described.dirty) << describeKey(key) << ": changed and not dirty";
    takeOver(key, chunk, described, power);
  }

  // From here on what was found is what there is.
  void takeOver(ChunkKey key, ModelChunk& chunk, const ChunkDescription& described, bool power) {
    if (!described.torn.empty()) {
      note("adopt", key, std::to_string(described.torn.size()));
      auto adopted = w.await(w.store().adopt(key, kj::arrayPtr(described.torn.data(), described.torn.size()), epoch_));
      ASSERT_TRUE(adopted.ok()) << adopted.error().why;
    }
    auto read = w.readUnder(contextOf(key), key, 0, CHUNK_BYTES);
    ASSERT_TRUE(read.unreadable.empty());
    auto allocated = w.await(w.store().allocated(key.chunk, contextOf(key)));
    ASSERT_TRUE(allocated.ok());
    for (uint32_t block = 0; block < BLOCKS; block++) {
      ModelBlock& model = chunk.blocks[block];
      BlockBytes found = blockOf(read, block);
      ASSERT_TRUE(chunk.allowsSectors(block, found)) << describeKey(key) << ": block " << block << " adopted wrongly";
      bool there = block < allocated.value().size() && allocated.value()[block];
      model.now = there ? versionOf(found) : nullptr;
      if (power) {
        model.legal = {model.now};
      }
      model.legal.push_back(model.now);
    }
    chunk.present = described.present;
    if (power) {
      sync(key);
    }
    applied_[key] = described.present ? described.allocatedBytes : 0;
  }

  static BlockBytes blockOf(const TestRead& read, uint32_t block) {
    auto from = read.bytes.begin() + static_cast<ptrdiff_t>(block) * BLOCK_BYTES;
    return BlockBytes(from, from + BLOCK_BYTES);
  }
  std::string describeKey(ChunkKey key) const {
    return "chunk " + chunkFileName(key.chunk) + " at step " + std::to_string(step_);
  }

  StoreWorld w;
  SimRandom random_;
  std::map<ChunkKey, ModelChunk> model_;
  std::map<ChunkKey, ModelChunk> clean_;
  std::map<ChunkKey, int64_t> applied_;
  std::map<uint64_t, Layout> layouts_;
  Epoch epoch_{1};
  std::vector<std::string> history_;
  unsigned step_ = 0;
};

uint64_t fromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

// CAIRN_SEED and CAIRN_SEEDS choose the first seed and how many.
TEST(StoreRandom, AgreesWithTheModel) {
  uint64_t first = fromEnvironment("CAIRN_SEED", 1);
  uint64_t seeds = fromEnvironment("CAIRN_SEEDS", 25);
  for (uint64_t seed = first; seed < first + seeds; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomOps ops(seed);
    ops.run(250);
    ASSERT_FALSE(HasFailure()) << "seed " << seed << ", step " << ops.step() << "\n" << ops.history();
  }
}

}  // namespace
}  // namespace cairn
