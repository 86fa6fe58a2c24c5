// The log: what was acknowledged is there after every kind of end, what wasn't goes, and rot is told apart from both.
#include "master/log/log.h"

#include <gtest/gtest.h>
#include <kj/vector.h>

#include <cerrno>
#include <random>

#include "common/checksum.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

constexpr ClusterId CLUSTER{3, 4};
constexpr Nanos LIMIT = 60 * SECOND;
constexpr uint64_t SEGMENT_BYTES = 64 << 10;

LogOptions options() {
  LogOptions options;
  options.cluster = CLUSTER;
  options.segmentBytes = SEGMENT_BYTES;
  return options;
}

std::string payloadOf(uint64_t index, size_t size) {
  std::string payload = "entry " + std::to_string(index) + " ";
  payload.resize(size, static_cast<char>('a' + index % 26));
  return payload;
}

// The log of one process on a volume.
class Opened {
 public:
  explicit Opened(World& world, const std::string& volume = "m")
      : world_(world), volume_(world.volume(volume)), disk_(volume_.open()), log_(Log::open(*disk_, options())) {}

  bool ok() const { return log_.ok(); }
  const std::string& why() const { return log_.error().why; }
  int code() const { return log_.code(); }
  Log& log() { return *log_.value(); }

  Task<Status> append(unsigned count, size_t size = 20, Term term = Term{1}) {
    std::vector<std::string> payloads;
    std::vector<LogEntry> entries;
    for (unsigned i = 0; i < count; ++i) {
      payloads.push_back(payloadOf(raw(log().lastIndex()) + 1 + i, size));
    }
    for (unsigned i = 0; i < count; ++i) {
      const auto& text = payloads[i];
      auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
      entries.push_back({LogIndex{raw(log().lastIndex()) + 1 + i}, term, bytes});
    }
    return log().append(kj::arrayPtr(entries.data(), entries.size()));
  }
  Status appendNow(unsigned count, size_t size = 20, Term term = Term{1}) {
    return world_.await(append(count, size, term), LIMIT);
  }

  // All payloads from `from` on.
  std::vector<std::string> read(LogIndex from = LogIndex{1}) {
    std::vector<std::string> found;
    auto status = log().read(std::max(from, log().firstIndex()), [&](const LogEntry& entry) {
      auto chars = entry.payload.asChars();
      found.emplace_back(chars.begin(), chars.size());
      return true;
    });
    EXPECT_TRUE(status.ok()) << status.error().why;
    return found;
  }

 private:
  World& world_;
  SimVolume& volume_;
  kj::Own<Disk> disk_;
  Result<kj::Own<Log>> log_;
};

std::vector<kj::byte> readAll(World& world, const std::string& path) {
  auto disk = world.volume("m").open();
  auto contents = readWholeFile(*disk, path, 1 << 20);
  KJ_REQUIRE(contents.ok());
  return {contents.value().begin(), contents.value().end()};
}

void writeAll(World& world, const std::string& path, const std::vector<kj::byte>& bytes) {
  auto disk = world.volume("m").open();
  auto file = disk->open(path, Disk::Mode::CREATE);
  KJ_REQUIRE(file.ok() && file.value()->truncate(0).ok());
  KJ_REQUIRE(file.value()->write(0, kj::arrayPtr(bytes.data(), bytes.size())).ok());
  KJ_REQUIRE(file.value()->syncNow().ok());
}

const std::string FIRST = "log/" + segmentName(1);
const std::string MARKER = "log/synced";

TEST(Log, KeepsWhatWasAppended) {
  World world(1);
  {
    Opened opened(world);
    ASSERT_TRUE(opened.ok()) << opened.why();
    EXPECT_EQ(opened.log().lastIndex(), LogIndex{});
    EXPECT_EQ(opened.log().firstIndex(), LogIndex{1});
    EXPECT_TRUE(opened.appendNow(3).ok());
    EXPECT_TRUE(opened.appendNow(2, 1000, Term{4}).ok());
    EXPECT_EQ(opened.log().durableIndex(), LogIndex{5});
  }
  world.volume("m").powerCut();
  Opened again(world);
  ASSERT_TRUE(again.ok()) << again.why();
  EXPECT_EQ(again.log().lastIndex(), LogIndex{5});
  EXPECT_EQ(again.log().term(LogIndex{0}), Term{});
  EXPECT_EQ(again.log().term(LogIndex{3}), Term{1});
  EXPECT_EQ(again.log().term(LogIndex{4}), Term{4});
  EXPECT_EQ(again.log().lastTerm(), Term{4});
  ASSERT_EQ(again.read().size(), 5u);
  EXPECT_EQ(again.read()[2], payloadOf(3, 20));
  EXPECT_EQ(again.read(LogIndex{5}), std::vector<std::string>{payloadOf(5, 1000)});
}

TEST(Log, OneSyncServesAllThatCameMeanwhile) {
  World world(2);
  Opened opened(world);
  ASSERT_TRUE(opened.ok());
  world.runFor(SECOND);  // the next segment is ready
  uint64_t before = world.volume("m").accesses();
  auto promises = kj::Vector<kj::Promise<Status>>();
  for (int i = 0; i < 100; ++i) {
    promises.add(opened.append(1));
  }
  world.await(kj::joinPromises(promises.releaseAsArray()).ignoreResult(), LIMIT);
  EXPECT_EQ(opened.log().durableIndex(), LogIndex{100});
  // One write and sync for the first, one for the other 99; each with a write of the marker.
  EXPECT_LE(world.volume("m").accesses() - before, 8u);
}

TEST(Log, FillsManySegments) {
  World world(3);
  {
    Opened opened(world);
    ASSERT_TRUE(opened.ok());
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(opened.appendNow(5, 700).ok());
    }
  }
  world.volume("m").powerCut();
  Opened again(world);
  ASSERT_TRUE(again.ok()) << again.why();
  auto found = again.read();
  ASSERT_EQ(found.size(), 1000u);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], payloadOf(i + 1, 700));
  }
  EXPECT_EQ(again.read(LogIndex{700}).size(), 301u);
}

TEST(Log, AnEntryMayFillASegment) {
  World world(4);
  Opened opened(world);
  ASSERT_TRUE(opened.ok());
  size_t largest = opened.log().entryBytesMax();
  EXPECT_TRUE(opened.appendNow(3, largest).ok());
  EXPECT_EQ(opened.read().size(), 3u);
  EXPECT_THROW((void)opened.append(1, largest + 1), kj::Exception);
}

TEST(Log, TruncatedPrefixesAreRecycled) {
  World world(5);
  {
    Opened opened(world);
    ASSERT_TRUE(opened.ok());
    for (int round = 0; round < 30; ++round) {
      ASSERT_TRUE(opened.appendNow(100, 1000, Term{1 + static_cast<uint64_t>(round)}).ok());
      opened.log().truncatePrefix(LogIndex{raw(opened.log().lastIndex()) - 50});
      world.runFor(100 * MILLISECOND);
      EXPECT_EQ(opened.log().term(opened.log().lastIndex()), Term{1 + static_cast<uint64_t>(round)});
    }
    EXPECT_GT(opened.log().firstIndex(), LogIndex{2800});
    EXPECT_LE(opened.log().firstIndex(), LogIndex{2951});
    EXPECT_LT(world.volume("m").usedBytes(), 10 * SEGMENT_BYTES);
  }
  world.volume("m").powerCut();
  Opened again(world);
  ASSERT_TRUE(again.ok()) << again.why();
  EXPECT_EQ(again.log().lastIndex(), LogIndex{3000});
  EXPECT_EQ(again.read(LogIndex{2990}).size(), 11u);
  EXPECT_LE(again.log().term(LogIndex{raw(again.log().firstIndex()) - 1}), again.log().term(again.log().firstIndex()));
}

// ---- torn ends ----

// The bytes of a log of four entries, of which the marker knows three.
struct Torn {
  std::vector<kj::byte> before;  // the segment without the last entry
  std::vector<kj::byte> after;
  uint64_t start = 0;  // of the last record
  uint64_t end = 0;
  std::vector<kj::byte> marker;
};

Torn prepare(World& world) {
  Torn torn;
  Opened opened(world);
  KJ_REQUIRE(opened.ok());
  KJ_REQUIRE(opened.appendNow(3).ok());
  torn.before = readAll(world, FIRST);
  torn.marker = readAll(world, MARKER);
  KJ_REQUIRE(opened.appendNow(1, 30).ok());
  torn.after = readAll(world, FIRST);
  for (torn.start = 0; torn.before[torn.start] == torn.after[torn.start];) {
    ++torn.start;
  }
  for (torn.end = torn.after.size(); torn.before[torn.end - 1] == torn.after[torn.end - 1];) {
    --torn.end;
  }
  return torn;
}

TEST(LogRecovery, ACutAtEveryByteOfTheLastRecordDropsJustThat) {
  World world(6);
  auto torn = prepare(world);
  ASSERT_GT(torn.end, torn.start + 40);
  for (uint64_t cut = torn.start; cut <= torn.end; ++cut) {
    world.volume("m").processDied();
    auto bytes = torn.before;
    std::copy(torn.after.begin() + torn.start, torn.after.begin() + cut, bytes.begin() + torn.start);
    bool whole = bytes == torn.after;
    writeAll(world, FIRST, bytes);
    writeAll(world, MARKER, torn.marker);
    {
      auto disk = world.volume("m").open();
      (void)disk->remove("log/" + segmentName(2));
    }
    Opened opened(world);
    ASSERT_TRUE(opened.ok()) << "cut at " << cut << ": " << opened.why();
    ASSERT_EQ(opened.log().lastIndex(), LogIndex{whole ? 4u : 3u}) << "cut at " << cut;
    ASSERT_TRUE(opened.appendNow(1, 25).ok());
    ASSERT_EQ(opened.read().size(), whole ? 5u : 4u);
  }
}

// Pages of one write reach the disk in any order: a hole in an unacknowledged batch is no rot.
TEST(LogRecovery, AHoleInTheLastBatchIsTorn) {
  World world(7);
  std::vector<kj::byte> before;
  std::vector<kj::byte> marker;
  {
    Opened opened(world);
    ASSERT_TRUE(opened.appendNow(3).ok());
    before = readAll(world, FIRST);
    marker = readAll(world, MARKER);
    ASSERT_TRUE(opened.appendNow(40, 900).ok());
  }
  world.volume("m").processDied();
  auto after = readAll(world, FIRST);
  constexpr uint64_t PAGE = 4096;
  for (uint64_t page = 2; page < 6; ++page) {
    auto bytes = after;
    std::copy(before.begin() + page * PAGE, before.begin() + (page + 1) * PAGE, bytes.begin() + page * PAGE);
    writeAll(world, FIRST, bytes);
    writeAll(world, MARKER, marker);
    {
      Opened opened(world);
      ASSERT_TRUE(opened.ok()) << opened.why();
      EXPECT_GE(opened.log().lastIndex(), LogIndex{3});
      EXPECT_LT(opened.log().lastIndex(), LogIndex{43});
      uint64_t kept = raw(opened.log().lastIndex());
      // What is appended now must not be followed by leftovers of the torn batch.
      ASSERT_TRUE(opened.appendNow(2, 900, Term{2}).ok());
      EXPECT_EQ(opened.read().size(), kept + 2);
    }
    world.volume("m").processDied();
    Opened again(world);
    ASSERT_TRUE(again.ok()) << again.why();
    EXPECT_EQ(again.log().lastTerm(), Term{2});
    world.volume("m").processDied();
    auto disk = world.volume("m").open();
    for (uint64_t number = 2; number < 9; ++number) {
      (void)disk->remove("log/" + segmentName(number));
    }
  }
}

// ---- rot ----

TEST(LogRecovery, AFlippedBitAnywhereNeverLosesASyncedEntrySilently) {
  World world(8);
  uint64_t used = 0;
  {
    Opened opened(world);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(opened.appendNow(2, 24).ok());
    }
    ASSERT_TRUE(world.await(opened.log().close(), LIMIT).ok());
    auto bytes = readAll(world, FIRST);
    used = bytes.size();
    while (bytes[used - 1] == 0) {
      --used;
    }
  }
  world.volume("m").processDied();
  auto segment = readAll(world, FIRST);
  auto marker = readAll(world, MARKER);
  int refused = 0;
  for (const auto& [path, whole] : {std::pair(FIRST, segment), std::pair(MARKER, marker)}) {
    uint64_t size = path == FIRST ? used : whole.size();
    for (uint64_t at = 0; at < size; ++at) {
      auto bytes = whole;
      bytes[at] ^= static_cast<kj::byte>(1u << (at % 8));
      writeAll(world, path, bytes);
      Opened opened(world);
      if (opened.ok()) {
        ASSERT_EQ(opened.log().lastIndex(), LogIndex{8}) << path << " byte " << at;
        ASSERT_EQ(opened.read()[7], payloadOf(8, 24));
      } else {
        ++refused;
        ASSERT_NE(opened.why().find("segment"), std::string::npos) << opened.why();
        ASSERT_NE(opened.why().find("offset"), std::string::npos) << opened.why();
        ASSERT_NE(opened.why().find("Restore"), std::string::npos) << opened.why();
        ASSERT_EQ(readAll(world, path), bytes);  // nothing was changed
      }
      world.volume("m").processDied();
    }
    writeAll(world, path, whole);
  }
  EXPECT_GT(refused, 400);
}

// Without the marker the records themselves tell which of them were durable.
TEST(LogRecovery, RotIsKnownFromLaterRecordsAlone) {
  World world(9);
  uint64_t secondStart = 0;
  {
    Opened opened(world);
    ASSERT_TRUE(opened.appendNow(1, 24).ok());
    secondStart = SEGMENT_HEADER_BYTES + recordBytes(24);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(opened.appendNow(1, 24).ok());
    }
  }
  world.volume("m").processDied();
  auto disk = world.volume("m").open();
  ASSERT_TRUE(disk->remove(MARKER).ok());
  ASSERT_TRUE(world.volume("m").rotAt(FIRST, secondStart + 60));
  Opened opened(world);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.why().find("entry 2"), std::string::npos) << opened.why();
}

// A record that is whole by itself, but stands where another belongs: a write that the disk put in the wrong place.
TEST(LogRecovery, ARecordFromElsewhereIsNoticed) {
  World world(16);
  uint64_t size = recordBytes(24);
  {
    Opened other(world);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(other.appendNow(1, 24, Term{2}).ok());
    }
  }
  auto foreign = readAll(world, FIRST);
  world.volume("m").processDied();
  auto disk = world.volume("m").open();
  for (const auto& name : disk->list("log").value()) {
    ASSERT_TRUE(disk->remove("log/" + name).ok());
  }
  {
    Opened opened(world);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(opened.appendNow(1, 24, Term{1}).ok());
    }
  }
  world.volume("m").processDied();
  auto bytes = readAll(world, FIRST);
  uint64_t third = SEGMENT_HEADER_BYTES + 2 * size;
  std::copy(foreign.begin() + third, foreign.begin() + third + size, bytes.begin() + third);
  writeAll(world, FIRST, bytes);
  Opened opened(world);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.why().find("entry 3"), std::string::npos) << opened.why();
}

// After a crash of the process alone the end of the log may be in memory only. Whoever reads it counts on it.
TEST(LogRecovery, WhatWasRecoveredIsDurable) {
  unsigned kept = 0;
  for (uint64_t seed = 200; seed < 240; ++seed) {
    World world(seed);
    {
      Opened opened(world);
      ASSERT_TRUE(opened.appendNow(2).ok());
      auto unanswered = opened.append(20, 500);
    }
    world.volume("m").processDied();
    LogIndex found{};
    {
      Opened opened(world);
      ASSERT_TRUE(opened.ok()) << opened.why();
      found = opened.log().lastIndex();
      kept += found > LogIndex{2} ? 1 : 0;
    }
    world.volume("m").powerCut();
    Opened again(world);
    ASSERT_TRUE(again.ok()) << again.why();
    EXPECT_EQ(again.log().lastIndex(), found);
  }
  EXPECT_GT(kept, 20u);
}

TEST(LogRecovery, MissingFilesAreNoticed) {
  for (int missing = 1; missing <= 4; ++missing) {
    World world(10);
    uint64_t active = 0;
    {
      Opened opened(world);
      for (int i = 0; i < 60; ++i) {
        ASSERT_TRUE(opened.appendNow(5, 700).ok());
      }
      ASSERT_TRUE(world.await(opened.log().close(), LIMIT).ok());
      auto disk = world.volume("m").open();
      auto names = disk->list("log").value();
      active = names.size() - 2;  // the marker, and the one that is ready
    }
    world.volume("m").processDied();
    ASSERT_GE(active, 3u);
    auto disk = world.volume("m").open();
    if (missing == 4) {
      for (uint64_t number = 1; number <= active + 1; ++number) {
        (void)disk->remove("log/" + segmentName(number));
      }
    } else {
      ASSERT_TRUE(disk->remove("log/" + segmentName(missing == 3 ? active : missing)).ok());
    }
    Opened opened(world);
    if (missing == 1) {
      // As if truncated: whoever needs these entries finds them gone.
      ASSERT_TRUE(opened.ok()) << opened.why();
      EXPECT_GT(opened.log().firstIndex(), LogIndex{1});
    } else {
      ASSERT_FALSE(opened.ok()) << missing;
      EXPECT_EQ(opened.code(), EIO);
    }
  }
}

TEST(LogRecovery, AnotherClustersSegmentIsRefused) {
  World world(11);
  {
    Opened opened(world);
    ASSERT_TRUE(opened.appendNow(1).ok());
  }
  world.volume("m").processDied();
  auto disk = world.volume("m").open();
  auto other = options();
  other.cluster = ClusterId{9, 9};
  auto opened = Log::open(*disk, other);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().why.find("another cluster"), std::string::npos);
}

// ---- power cuts ----

TEST(LogRecovery, PowerCutsKeepWhatWasAcknowledged) {
  for (uint64_t seed = 100; seed < 160; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    std::mt19937_64 random(seed);
    uint64_t acknowledged = 0;
    uint64_t term = 1;
    for (int life = 0; life < 6; ++life) {
      Opened opened(world);
      ASSERT_TRUE(opened.ok()) << opened.why();
      ASSERT_GE(raw(opened.log().lastIndex()), acknowledged);
      auto found = opened.read();
      for (size_t i = 0; i < found.size(); ++i) {
        auto index = raw(opened.log().firstIndex()) + i;
        ASSERT_EQ(found[i].substr(0, 6 + std::to_string(index).size()), "entry " + std::to_string(index));
      }
      acknowledged = raw(opened.log().lastIndex());
      ++term;
      auto appends = kj::Vector<kj::Promise<void>>();
      for (int i = 0; i < 60; ++i) {
        unsigned count = 1 + random() % 5;
        auto note = [&acknowledged, last = raw(opened.log().lastIndex()) + count](Status status) {
          if (status.ok()) {
            acknowledged = std::max<uint64_t>(acknowledged, last);
          }
        };
        kj::Promise<Status> append = opened.append(count, 10 + random() % 2000, Term{term});
        appends.add(append.then(kj::mv(note)).eagerlyEvaluate(nullptr));
        world.runFor(static_cast<Nanos>(random() % (400 * MICROSECOND)));
        if (random() % 20 == 0 && acknowledged > 20) {
          opened.log().truncatePrefix(LogIndex{acknowledged - 10});
        }
      }
      world.volume("m").powerCut();
    }
  }
}

// ---- failing disks ----

TEST(LogFaults, EveryFailedAccessEndsTheLogOrLosesNothing) {
  for (bool forGood : {false, true}) {
    for (uint64_t nth = 1; nth < 120; ++nth) {
      SCOPED_TRACE("access " + std::to_string(nth) + (forGood ? " and all later ones" : ""));
      World world(12);
      uint64_t acknowledged = 0;
      world.volume("m").setTrip({nth, EIO, forGood});
      {
        Opened opened(world);
        if (opened.ok()) {
          for (int i = 0; i < 20; ++i) {
            Status status = Error{EIO, "not answered"};
            kj::Promise<Status> append = opened.append(10, 700);
            auto done = append.then([&status](Status result) { status = kj::mv(result); }).eagerlyEvaluate(nullptr);
            world.runFor(200 * MILLISECOND);
            if (!status.ok()) {
              break;
            }
            acknowledged = raw(opened.log().durableIndex());
          }
        }
      }
      world.volume("m").setTrip({});
      world.volume("m").powerCut();
      Opened again(world);
      ASSERT_TRUE(again.ok()) << again.why();
      ASSERT_GE(raw(again.log().lastIndex()), acknowledged);
    }
  }
}

TEST(LogFaults, AFailedSyncIsFinal) {
  World world(13);
  Opened opened(world);
  ASSERT_TRUE(opened.ok());
  world.runFor(SECOND);
  SimFaults faults;
  faults.syncError = 1'000'000;
  world.volume("m").setFaults(faults);
  auto failure = opened.log().onFailure();
  EXPECT_EQ(opened.appendNow(1).code(), EIO);
  EXPECT_EQ(world.await(kj::mv(failure), LIMIT).code, EIO);
  world.volume("m").setFaults({});
  EXPECT_EQ(opened.appendNow(1).code(), EIO);  // never tried again
  EXPECT_EQ(opened.log().durableIndex(), LogIndex{});
}

TEST(LogFaults, AFullDiskRefusesAndRecovers) {
  World world(14);
  Opened opened(world);
  ASSERT_TRUE(opened.ok());
  world.runFor(SECOND);
  world.volume("m").setCapacity(world.volume("m").usedBytes() + 4096);
  int code = 0;
  uint64_t count = 0;
  while (code == 0 && count < 1000) {
    code = opened.appendNow(1, 2000).code();
    count += code == 0 ? 1 : 0;
  }
  EXPECT_EQ(code, ENOSPC);
  EXPECT_EQ(opened.log().lastIndex(), LogIndex{count});
  EXPECT_EQ(opened.appendNow(2, 2000).code(), ENOSPC);
  world.volume("m").setCapacity(1ull << 40);
  EXPECT_TRUE(opened.appendNow(2, 2000, Term{3}).ok());
  EXPECT_EQ(opened.log().lastIndex(), LogIndex{count + 2});
  EXPECT_EQ(opened.log().lastTerm(), Term{3});
  EXPECT_EQ(opened.read().size(), count + 2);
}

}  // namespace
}  // namespace cairn
