// A disk that fails, and one that rots: errors are said, the volume stops, and no byte is ever wrong under a right
// checksum.
#include <functional>

#include "tests/unit/chunkserver/store_fixture.h"

namespace cairn {
namespace {

// What the script below has been promised.
struct Promised {
  std::map<ChunkKey, std::vector<kj::byte>> synced;
  Epoch inSync{};
};

// A bit of everything; stops at the first error. Each step's promise is noted when it was made.
Status script(StoreWorld& w, Promised& promised) {
  auto writeAndSync = [&](ChunkKey key, uint32_t offset, size_t size, uint64_t seed) -> Status {
    auto data = pattern(seed, size);
    auto before = promised.synced[key];
    promised.synced.erase(key);  // from now to the sync either may be there
    auto written = w.write(key, offset, data);
    if (!written.ok()) {
      return written.error();
    }
    auto status = w.sync(key);
    if (status.ok()) {
      before.resize(std::max<size_t>(before.size(), offset + size));
      std::copy(data.begin(), data.end(), before.begin() + offset);
      promised.synced[key] = before;
    }
    return status;
  };
  std::vector<std::function<Status()>> steps = {
      [&] { return writeAndSync(keyOf(1), 0, 5000, 1); },
      [&] { return writeAndSync(keyOf(2), 0, 300'000, 2); },
      [&] { return writeAndSync(keyOf(1), 4000, 100'000, 3); },  // grows into a file
      [&]() -> Status {
        auto status = w.await(w.store().setInSync({{TEST_SHARD, Epoch{3}}}));
        promised.inSync = status.ok() ? Epoch{3} : promised.inSync;
        return status;
      },
      [&] { return writeAndSync(keyOf(3), 8192, 4096, 4); },
      [&]() -> Status {
        for (int i = 0; i < 25; i++) {
          auto status = w.await(w.store().maintain());
          if (!status.ok()) {
            return status;
          }
          w.world.runFor(SECOND);
        }
        return {};
      },
      [&] { return writeAndSync(keyOf(2), 100'000, 5000, 5); },  // a clean chunk gets its mark back
      [&]() -> Status {
        promised.synced.erase(keyOf(3));
        auto removed = w.await(w.store().remove(keyOf(3)));
        return removed.ok() ? w.sync(keyOf(3)) : Status(removed.error());
      },
      [&]() -> Status {
        auto described = w.await(w.store().describe(keyOf(2)));
        return described.ok() ? Status() : Status(described.error());
      },
      [&] { return w.await(w.store().close()); },
  };
  for (auto& step : steps) {
    auto status = step();
    if (!status.ok()) {
      return status;
    }
  }
  return {};
}

void expectPromises(StoreWorld& w, const Promised& promised) {
  for (auto& [key, data] : promised.synced) {
    uint32_t length = static_cast<uint32_t>((data.size() + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);
    auto read = w.read(key, 0, length);
    ASSERT_EQ(read.code, 0);
    ASSERT_TRUE(read.unreadable.empty()) << raw(key.chunk.object);
    read.bytes.resize(data.size());
    ASSERT_EQ(read.bytes, data) << raw(key.chunk.object);
  }
  if (promised.inSync != Epoch{}) {
    ASSERT_EQ(w.store().inSync(TEST_SHARD), promised.inSync);
  }
}

class StoreTrips : public testing::TestWithParam<std::tuple<int, bool, bool>> {};

// Fails the n-th access, for every n: then the power goes (or the process is killed), the disk is well again.
TEST_P(StoreTrips, EveryAccessFailsOnce) {
  auto [code, forGood, power] = GetParam();
  uint64_t step = 1;
  for (uint64_t n = 1;; n += step) {
    SCOPED_TRACE("access " + std::to_string(n));
    StoreWorld w(n);
    Promised promised;
    w.volume.setTrip(SimTrip{n, code, forGood});
    auto status = w.tryOpen();
    if (status.ok()) {
      status = script(w, promised);
      // What can't be read is a bad block; after any other failure the volume does nothing more.
      if (!status.ok() && code == EIO && status.code() != EUCLEAN) {
        EXPECT_EQ(status.code(), EIO) << status.error().why;
        EXPECT_EQ(w.store().health().code(), EIO)
            << "an error that the volume didn't take to heart: " << status.error().why;
        EXPECT_EQ(w.sync(keyOf(2)).code(), EIO) << "a sync after a failure";
      }
    }
    bool through = status.ok() && w.volume.accesses() < n;
    w.volume.setTrip(SimTrip());
    power ? w.cutPower() : w.kill();
    w.open();
    ASSERT_FALSE(HasFailure());
    if (!w.store().indexRebuilt()) {
      expectPromises(w, promised);
    }
    ASSERT_FALSE(HasFailure());
    if (through) {
      break;
    }
    ASSERT_LT(n, 5000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Disk, StoreTrips,
                         testing::Values(std::make_tuple(EIO, true, true), std::make_tuple(EIO, false, true),
                                         std::make_tuple(EIO, false, false), std::make_tuple(ENOSPC, false, true)));

// ---- rot ----

enum class Damage { ZERO, GARBAGE, BIT_FLIP, CUT_OFF };

void damage(Disk& disk, const std::string& path, uint64_t offset, uint64_t length, Damage how, uint64_t seed) {
  auto opened = disk.open(path, Disk::Mode::READ_WRITE);
  ASSERT_TRUE(opened.ok()) << opened.error().why;
  File& file = *opened.value();
  if (how == Damage::CUT_OFF) {
    ASSERT_TRUE(file.truncate(offset).ok());
    return;
  }
  std::vector<kj::byte> bytes(length);
  auto got = file.readNow(offset, kj::arrayPtr(bytes.data(), bytes.size()));
  ASSERT_TRUE(got.ok());
  bytes.resize(got.value());
  if (bytes.empty()) {
    return;
  }
  if (how == Damage::ZERO) {
    std::fill(bytes.begin(), bytes.end(), 0);
  } else if (how == Damage::GARBAGE) {
    bytes = pattern(seed, bytes.size());
  } else {
    bytes[seed % bytes.size()] ^= static_cast<kj::byte>(1u << (seed % 8));
  }
  ASSERT_TRUE(file.write(offset, kj::arrayPtr(bytes.data(), bytes.size())).ok());
  ASSERT_TRUE(file.syncNow().ok());
}

struct Whole {
  std::map<ChunkKey, std::vector<kj::byte>> contents;
  std::map<ChunkKey, uint64_t> digests;
};

// Small chunks, files, holes, a chunk that was rewritten; all synced, and by `clean` all at rest.
Whole fill(StoreWorld& w, bool clean) {
  Whole whole;
  auto put = [&](ChunkKey key, uint32_t offset, size_t size) {
    auto data = pattern(raw(key.chunk.object) * 100 + offset, size);
    ASSERT_TRUE(w.write(key, offset, data).ok());
    auto& content = whole.contents[key];
    content.resize(std::max<size_t>(content.size(), (offset + size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES));
    std::copy(data.begin(), data.end(), content.begin() + offset);
  };
  for (uint64_t object = 1; object <= 4; object++) {
    put(keyOf(object), 0, 3000 + object * 5000);
  }
  put(keyOf(10), 0, 200'000);
  put(keyOf(11), 40'000, 1'000'000);
  put(keyOf(11), 2'000'000, 50'000);
  put(keyOf(10), 5000, 3000);
  for (auto& entry : whole.contents) {
    EXPECT_TRUE(w.sync(entry.first).ok());
    whole.digests[entry.first] = w.describe(entry.first).digest;
  }
  EXPECT_TRUE(w.await(w.store().setInSync({{TEST_SHARD, Epoch{9}}})).ok());
  clean ? w.close() : w.kill();
  return whole;
}

// Every block is right, or said to be bad, or (small chunks, when the index was thrown away) the chunk is absent.
// And what reads well and differs from the others' digest is dirty or bad, so that reconciliation sees it.
void expectNothingWrong(StoreWorld& w, const Whole& whole) {
  for (auto& [key, content] : whole.contents) {
    auto described = w.await(w.store().describe(key));
    ASSERT_TRUE(described.ok()) << described.error().why;
    auto& found = described.value();
    if (!found.present) {
      ASSERT_EQ(w.store().inSync(TEST_SHARD), Epoch{})
          << "the chunk of object " << raw(key.chunk.object) << " is gone and the volume claims to be in sync";
      continue;
    }
    auto read = w.read(key, 0, static_cast<uint32_t>(content.size()));
    ASSERT_EQ(read.code, 0);
    for (uint32_t block = 0; block < content.size() / BLOCK_BYTES; block++) {
      bool told = std::binary_search(found.bad.begin(), found.bad.end(), block) ||
                  std::binary_search(found.torn.begin(), found.torn.end(), block);
      bool readable = std::find(read.unreadable.begin(), read.unreadable.end(), block) == read.unreadable.end();
      bool same = memcmp(read.bytes.data() + size_t{block} * BLOCK_BYTES, content.data() + size_t{block} * BLOCK_BYTES,
                         BLOCK_BYTES) == 0;
      ASSERT_TRUE(same || told || !readable)
          << "object " << raw(key.chunk.object) << " block " << block << ": a wrong byte under a right checksum";
      ASSERT_TRUE(readable || told) << "object " << raw(key.chunk.object) << " block " << block << ": not told";
    }
  }
}

// `place`: one structure; counts how often the damage was found at all.
struct Place {
  std::string path;
  uint64_t offset;
  uint64_t length;
};

std::vector<Place> chunkPlaces() {
  std::string path = chunkPath(keyOf(10));
  uint64_t data = dataOffset(DEFAULT_CHUNK_BITS);
  return {{path, HEADER_SLOT_OFFSETS[0], HEADER_SLOT_BYTES},
          {path, HEADER_SLOT_OFFSETS[1], HEADER_SLOT_BYTES},
          {path, 0, CHUNK_HEADER_BYTES},
          {path, sumsOffset(3), 8},
          {path, sumsOffset(0), 512},
          {path, 0, data},
          {path, data, BLOCK_BYTES},
          {path, data + 20 * BLOCK_BYTES, 3 * BLOCK_BYTES},
          {chunkPath(keyOf(11)), sumsOffset(9), 8},
          {chunkPath(keyOf(11)), data, BLOCK_BYTES}};  // under a hole
}

TEST(StoreRot, ChunkFiles) {
  uint64_t seed = 0;
  for (bool clean : {true, false}) {
    for (auto& place : chunkPlaces()) {
      for (Damage how : {Damage::ZERO, Damage::GARBAGE, Damage::BIT_FLIP, Damage::CUT_OFF}) {
        SCOPED_TRACE(place.path + " at " + std::to_string(place.offset) + "+" + std::to_string(place.length) +
                     (clean ? " clean" : " dirty") + " damage " + std::to_string(static_cast<int>(how)));
        StoreWorld w(++seed);
        w.open();
        Whole whole = fill(w, clean);
        damage(*w.volume.open(), place.path, place.offset, place.length, how, seed);
        w.open();
        EXPECT_FALSE(w.store().indexRebuilt());
        // A dirty chunk has no digest to go by: a checksum that became 0 reads as a hole until reconciliation
        // compares it with the other members'.
        bool lostSum = !clean && how == Damage::ZERO && place.offset >= CHUNK_HEADER_BYTES && place.length <= 512;
        if (lostSum) {
          EXPECT_NE(w.describe(keyOf(place.path == chunkPath(keyOf(10)) ? 10 : 11)).digest,
                    whole.digests[keyOf(place.path == chunkPath(keyOf(10)) ? 10 : 11)]);
        } else {
          expectNothingWrong(w, whole);
        }
        ASSERT_FALSE(HasFailure());
      }
    }
  }
}

TEST(StoreRot, MissingFile) {
  for (bool clean : {true, false}) {
    StoreWorld w(clean ? 1 : 2);
    w.open();
    Whole whole = fill(w, clean);
    ASSERT_TRUE(w.volume.open()->remove(chunkPath(keyOf(10))).ok());
    w.open();
    expectNothingWrong(w, whole);
    EXPECT_EQ(w.store().counters().missingChunks, 1u);
    EXPECT_EQ(w.write(keyOf(10), 100, pattern(1, 100)).code(), EUCLEAN);
    // Written whole it comes back to life; the rest stays bad until it is written, too.
    auto data = pattern(2, BLOCK_BYTES);
    ASSERT_TRUE(w.write(keyOf(10), 0, data).ok());
    ASSERT_TRUE(w.sync(keyOf(10)).ok());
    w.close();
    w.open();
    auto described = w.describe(keyOf(10));
    EXPECT_EQ(described.bad.size(), 48u);
    auto read = w.read(keyOf(10), 0, BLOCK_BYTES);
    EXPECT_TRUE(read.unreadable.empty());
    EXPECT_EQ(read.bytes, data);
  }
}

TEST(StoreRot, AnotherChunksFileInItsPlace) {
  StoreWorld w(3);
  w.open();
  Whole whole = fill(w, true);
  ASSERT_TRUE(w.volume.open()->rename(chunkPath(keyOf(11)), chunkPath(keyOf(10))).ok());
  w.open();
  expectNothingWrong(w, whole);
  EXPECT_EQ(w.store().counters().missingChunks, 2u);
}

// Every file of the index, damaged at several places in every way.
TEST(StoreRot, IndexFiles) {
  uint64_t seed = 0;
  unsigned rebuilt = 0;
  unsigned kept = 0;
  for (bool clean : {true, false}) {
    std::vector<std::string> names;
    {
      StoreWorld w(77);
      w.open();
      (void)fill(w, clean);
      names = w.volume.open()->list("index").value();
    }
    ASSERT_GE(names.size(), 4u);
    for (auto& name : names) {
      if (name == "LOCK" || name == "LOG" || name == "LOG.old") {
        continue;
      }
      for (Damage how : {Damage::ZERO, Damage::GARBAGE, Damage::BIT_FLIP, Damage::CUT_OFF}) {
        for (unsigned part = 0; part < 6; part++) {
          SCOPED_TRACE(name + " part " + std::to_string(part) + (clean ? " clean" : " killed") + " damage " +
                       std::to_string(static_cast<int>(how)));
          StoreWorld w(77);  // the same each time, or there would be other names
          w.open();
          Whole whole = fill(w, clean);
          auto disk = w.volume.open();
          std::string path = "index/" + name;
          uint64_t size = disk->open(path, Disk::Mode::READ).value()->info().value().sizeBytes;
          damage(*disk, path, size * part / 6, std::max<uint64_t>(size / 6, 1), how, ++seed);
          w.open();
          ASSERT_FALSE(HasFailure());
          expectNothingWrong(w, whole);
          (w.store().indexRebuilt() ? rebuilt : kept)++;
          ASSERT_FALSE(HasFailure());
        }
      }
    }
  }
  EXPECT_GT(rebuilt, 30u);
  RecordProperty("rebuilt", static_cast<int>(rebuilt));
  RecordProperty("kept", static_cast<int>(kept));
}

// LevelDB opens what it can't read: its blocks are looked at only when they are wanted.
TEST(StoreRot, AnIndexThatOpensAndCantBeReadIsMadeAgainAtOnce) {
  constexpr uint32_t SHARDS = 20'000, PARTS = 8;
  unsigned rebuilt = 0;
  for (uint32_t part = 0; part < PARTS; ++part) {
    SCOPED_TRACE(part);
    StoreWorld w(79);
    w.open();
    Whole whole = fill(w, true);
    w.open();
    std::vector<VolumeStore::InSyncMark> marks;
    for (uint32_t shard = 0; shard < SHARDS; ++shard) {
      marks.push_back({ShardId{1000 + shard}, Epoch{1}});
    }
    ASSERT_TRUE(w.await(w.store().setInSync(kj::mv(marks))).ok());
    w.close();
    w.open();  // what was in LevelDB's log goes to a table
    w.close();
    auto disk = w.volume.open();
    std::string largest;
    uint64_t size = 0;
    for (auto& name : disk->list("index").value()) {
      uint64_t bytes = disk->open("index/" + name, Disk::Mode::READ).value()->info().value().sizeBytes;
      if (name.ends_with(".ldb") && bytes > size) {
        largest = "index/" + name;
        size = bytes;
      }
    }
    ASSERT_GT(size, 100'000u);
    damage(*disk, largest, size * part / PARTS + 100, 1, Damage::BIT_FLIP, part);
    w.open();
    ASSERT_FALSE(HasFailure());
    expectNothingWrong(w, whole);
    rebuilt += w.store().indexRebuilt();
  }
  EXPECT_GE(rebuilt, PARTS / 2);
}

TEST(StoreRot, SyncedMarker) {
  for (Damage how : {Damage::ZERO, Damage::GARBAGE, Damage::BIT_FLIP, Damage::CUT_OFF}) {
    StoreWorld w(5);
    w.open();
    Whole whole = fill(w, false);
    damage(*w.volume.open(), "index.synced", 0, 16, how, 3);
    w.open();
    EXPECT_FALSE(w.store().indexRebuilt());
    expectNothingWrong(w, whole);
  }
}

TEST(StoreRot, RebuiltIndexSurvivesACutInTheMiddle) {
  for (uint64_t n = 1; n < 400; n++) {
    SCOPED_TRACE(n);
    StoreWorld w(n);
    w.open();
    Whole whole = fill(w, true);
    damage(*w.volume.open(), "index/CURRENT", 0, 16, Damage::GARBAGE, n);
    w.volume.setTrip(SimTrip{n, EIO, true});
    auto status = w.tryOpen();
    w.volume.setTrip(SimTrip());
    w.cutPower();
    w.open();
    ASSERT_FALSE(HasFailure());
    expectNothingWrong(w, whole);
    EXPECT_EQ(w.store().inSync(TEST_SHARD), Epoch{});
    ASSERT_FALSE(HasFailure());
    if (status.ok()) {
      return;
    }
  }
  FAIL() << "never got through";
}

}  // namespace
}  // namespace cairn
