// The small parts of the adapter: kept bytes, lookup counts, groups remembered.
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <cstring>
#include <map>

#include "fuse-client/fuse/arrival.h"
#include "fuse-client/fuse/failure_log.h"
#include "fuse-client/fuse/nodes.h"
#include "fuse-client/fuse/own_files.h"
#include "fuse-client/fuse/processes.h"

namespace cairn {
namespace {

constexpr size_t BUFFER_BYTES = 1 << 20;

void arrive(Arrival& arrival) {
  fuse_buf& buffer = arrival.next();
  if (buffer.mem == nullptr) {
    buffer.mem = std::malloc(BUFFER_BYTES);
  }
  buffer.size = BUFFER_BYTES;
}

kj::ArrayPtr<kj::byte> bytesAt(Arrival& arrival, size_t offset, size_t length) {
  return kj::arrayPtr(static_cast<kj::byte*>(arrival.next().mem) + offset, length);
}

TEST(Arrival, SmallBytesAreCopiedAndTheBufferStays) {
  Arrival arrival;
  arrive(arrival);
  void* memory = arrival.next().mem;
  auto bytes = bytesAt(arrival, 100, 4096);
  std::memset(bytes.begin(), 7, bytes.size());
  auto kept = arrival.keep(bytes);
  EXPECT_EQ(arrival.next().mem, memory);
  std::memset(bytes.begin(), 8, bytes.size());
  EXPECT_EQ(kept.bytes().size(), 4096u);
  EXPECT_EQ(kept.bytes()[4095], 7);
}

TEST(Arrival, LargeBytesTakeTheBufferAndGiveItBack) {
  Arrival arrival;
  arrive(arrival);
  void* memory = arrival.next().mem;
  auto bytes = bytesAt(arrival, 80, 500000);
  bytes[0] = 9;
  {
    auto kept = arrival.keep(bytes);
    EXPECT_EQ(arrival.next().mem, nullptr);
    EXPECT_EQ(kept.bytes().begin(), bytes.begin());
    auto moved = kj::mv(kept);
    EXPECT_EQ(moved.bytes()[0], 9);
  }
  EXPECT_EQ(arrival.next().mem, memory);
}

TEST(Arrival, ArgumentsOfAShortRequestAreAbsent) {
  Arrival arrival;
  arrive(arrival);
  arrival.next().size = sizeof(fuse_in_header) + sizeof(fuse_write_in) - 1;
  EXPECT_EQ(arrival.arguments<fuse_write_in>(), nullptr);
  arrival.next().size++;
  EXPECT_NE(arrival.arguments<fuse_write_in>(), nullptr);
}

TEST(Nodes, CountLookupsUntilAllAreForgotten) {
  Nodes nodes;
  InodeId inode{77};
  EXPECT_EQ(nodes.find(inode), nullptr);
  nodes.told(inode).mode = 1;
  nodes.told(inode);
  nodes.told(inode);
  nodes.forget(inode, 2);
  ASSERT_NE(nodes.find(inode), nullptr);
  EXPECT_EQ(nodes.find(inode)->lookups, 1u);
  nodes.find(inode)->held = HandleId{5};
  EXPECT_EQ(nodes.forget(inode, 100), HandleId{5}) << "what was held, with the last lookup";
  EXPECT_EQ(nodes.find(inode), nullptr);
  EXPECT_EQ(nodes.forget(inode, 1), HandleId{});
  EXPECT_EQ(nodes.size(), 0u);
}

class FakeClock final : public Clock {
 public:
  kj::Timer& timer() override { KJ_FAIL_REQUIRE("no timers here"); }
  Nanos monotonic() override { return now; }
  Nanos wall() override { return now; }
  Nanos now = SECOND;
};

class FakeProcesses final : public Processes {
 public:
  std::vector<uint32_t> groups(pid_t pid) override {
    asked++;
    return {static_cast<uint32_t>(pid), generation};
  }
  bool beingKilled(pid_t) override { return false; }
  bool isAskedToStop(pid_t) override { return false; }
  bool isExiting(pid_t) override { return false; }
  unsigned asked = 0;
  uint32_t generation = 0;
};

TEST(OwnFiles, AreToldFromTheClustersByTheirNodes) {
  OwnFiles files(5 * SECOND);
  EXPECT_FALSE(OwnFiles::has(FUSE_ROOT_ID));
  EXPECT_TRUE(OwnFiles::has(OwnFiles::FIRST_NODE));
  EXPECT_FALSE(OwnFiles::isFile(OwnFiles::FIRST_NODE));
  for (const char* name : OwnFiles::NAMES) {
    fuse_ino_t node = OwnFiles::find(name);
    EXPECT_TRUE(OwnFiles::isFile(node)) << name;
    EXPECT_EQ(files.statOf(node).st_mode, static_cast<mode_t>(S_IFREG | 0444));
    EXPECT_EQ(files.statOf(node).st_mtim.tv_sec, 5);
  }
  EXPECT_EQ(OwnFiles::fileOf(OwnFiles::find("why")), OwnFile::WHY);
  EXPECT_EQ(OwnFiles::find("nothing"), 0u);
}

TEST(OwnFiles, GiveWayToANameOfTheCluster) {
  OwnFiles files(0);
  EXPECT_TRUE(files.isDirectory(FUSE_ROOT_ID, ".dfs"));
  EXPECT_TRUE(files.isShadowed(".dfs"));
  EXPECT_FALSE(files.isDirectory(FUSE_ROOT_ID + 1, ".dfs"));
  files.hide();
  EXPECT_FALSE(files.isDirectory(FUSE_ROOT_ID, ".dfs"));
  EXPECT_FALSE(files.isShadowed(".dfs"));
}

TEST(OwnFiles, AnOpenOneKeepsItsText) {
  OwnFiles files(0);
  uint64_t first = files.open("first"), second = files.open("second");
  ASSERT_NE(files.text(first), nullptr);
  EXPECT_EQ(*files.text(first), "first");
  files.close(first);
  EXPECT_EQ(files.text(first), nullptr);
  EXPECT_EQ(*files.text(second), "second");
}

TEST(GroupCache, AsksAgainForAnotherIdentityAndAfterAMoment) {
  FakeClock clock;
  FakeProcesses processes;
  GroupCache cache(processes, clock);
  EXPECT_EQ(cache.groups(5, 1, 1), (std::vector<uint32_t>{5, 0}));
  processes.generation = 1;
  EXPECT_EQ(cache.groups(5, 1, 1), (std::vector<uint32_t>{5, 0}));
  EXPECT_EQ(processes.asked, 1u);
  EXPECT_EQ(cache.groups(5, 2, 1), (std::vector<uint32_t>{5, 1}));
  EXPECT_EQ(cache.groups(6, 2, 1), (std::vector<uint32_t>{6, 1}));
  processes.generation = 2;
  clock.now += SECOND;
  EXPECT_EQ(cache.groups(5, 2, 1), (std::vector<uint32_t>{5, 2}));
}

TEST(FailureLog, SaysSomeAndCountsTheRest) {
  FakeClock clock;
  FailureLog log(clock);
  for (int i = 0; i < 1000; i++) {
    log.add("test", 1, "failed as it should");
  }
  EXPECT_EQ(log.dropped(), 980u);
  clock.now += 60 * SECOND;
  log.add("test", 1, "failed as it should");
  EXPECT_EQ(log.dropped(), 0u);
}

TEST(GroupCache, StaysSmall) {
  FakeClock clock;
  FakeProcesses processes;
  GroupCache cache(processes, clock);
  for (pid_t pid = 1; pid < 20000; pid++) {
    ASSERT_EQ(cache.groups(pid, 1, 1)[0], static_cast<uint32_t>(pid));
  }
  EXPECT_EQ(processes.asked, 19999u);
}

}  // namespace
}  // namespace cairn
