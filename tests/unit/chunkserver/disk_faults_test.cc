// Single faults of one disk under whole servers: right bytes or none, and mended by themselves. CAIRN_FULL=1: 1,000
// of each.
#include <cstdlib>

#include "chunkserver/store/chunk_format.h"
#include "tests/unit/chunkserver/replication_world.h"

namespace cairn::replication_test {
namespace {

constexpr uint32_t BLOCKS = 48;
constexpr uint32_t BYTES = BLOCKS * BLOCK_BYTES;
constexpr uint64_t OBJECTS = 3;
constexpr uint64_t SMALL = 100;  // the first small one

unsigned faultsWanted(unsigned few) {
  constexpr unsigned MANY = 1000;
  return getenv("CAIRN_FULL") != nullptr ? MANY : few;
}

struct FaultWorld : ReplicationWorld {
  // `smalls`: chunks that live in the index; with several hundred LevelDB has tables.
  explicit FaultWorld(uint64_t seed, uint64_t smalls = 10)
      : ReplicationWorld(seed), smalls(smalls), chance(Generator::fromSeed(seed)) {
    startThree();
    for (uint64_t object = 1; object <= OBJECTS; ++object) {
      expectOk(write("c1", object, 0, contents(object), true));
    }
    for (uint64_t object = SMALL; object < SMALL + smalls; ++object) {
      expectOk(write("c1", object, 0, small(object), object % 16 == 0));
    }
    world.runFor(20 * SECOND);  // no dirty mark is left
  }
  Bytes contents(uint64_t object) { return bytes(object, BYTES); }
  Bytes small(uint64_t object) { return bytes(object, 3 * BLOCK_BYTES); }
  std::string pathOf(uint64_t object) { return chunkPath({shardOf(object), {ObjectId{object}, 0}}); }
  std::string anyServer() { return "c" + std::to_string(1 + chance.next() % 3); }
  // What a reader gets of the object from each member: its bytes, or bytes that it can tell to be bad.
  void expectNothingWrong(uint64_t object) {
    for (auto& server : {"c1", "c2", "c3"}) {
      Answer answer = read(server, object, 0, BYTES);
      if (answer.ok() && answer.intact) {
        EXPECT_TRUE(answer.data == contents(object)) << server << " gave wrong bytes";
      }
    }
  }
  bool frontIsWhole(const std::string& server, uint64_t object) {
    auto disk = this->disk(server).open();
    auto file = disk->open(pathOf(object), Disk::Mode::READ);
    auto front = kj::heapArray<kj::byte>(dataOffset(DEFAULT_CHUNK_BITS));
    if (!file.ok() || !file.value()->readNow(0, front).ok() || !findHeader(front.slice(0, CHUNK_HEADER_BYTES)).ok()) {
      return false;
    }
    auto sums = decodeSums(front.slice(CHUNK_HEADER_BYTES, front.size()));
    Bytes expected = contents(object);
    for (uint32_t block = 0; block < sums.size(); ++block) {
      auto bytes = kj::arrayPtr(expected.data() + (block < BLOCKS ? block : 0) * BLOCK_BYTES, size_t{BLOCK_BYTES});
      if (sums[block] != (block < BLOCKS ? blockChecksum(bytes) : 0)) {
        return false;
      }
    }
    return true;
  }

  const uint64_t smalls;
  Generator chance;
};

enum class Where { DATA, HEADER, SUMS };

uint64_t anyOffset(FaultWorld& w, Where where) {
  switch (where) {
    case Where::DATA:
      return blockOffset(DEFAULT_CHUNK_BITS, 0) + w.chance.next() % BYTES;
    case Where::HEADER:
      return HEADER_SLOT_OFFSETS[w.chance.next() % 2] + w.chance.next() % 100;
    case Where::SUMS:
      break;
  }
  return CHUNK_HEADER_BYTES + w.chance.next() % (BLOCKS * 8);
}

void flipAndMend(uint64_t seed, Where where) {
  FaultWorld w(seed);
  unsigned wanted = faultsWanted(100), mended = 0;
  for (unsigned fault = 0; fault < wanted; ++fault) {
    uint64_t object = 1 + w.chance.next() % OBJECTS;
    std::string server = w.anyServer();
    uint64_t offset = anyOffset(w, where);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", fault " + std::to_string(fault) + ": " + server + " object " +
                 std::to_string(object) + " at " + std::to_string(offset));
    ASSERT_TRUE(w.disk(server).rotAt(w.pathOf(object), offset, static_cast<unsigned>(w.chance.next() % 8)));
    w.expectNothingWrong(object);
    ASSERT_TRUE(w.scrubWhole(server));
    Answer answer = w.read(server, object, 0, BYTES);
    bool good = answer.ok() && answer.intact && answer.data == w.contents(object);
    mended += good && w.frontIsWhole(server, object) && w.scrub(server, false).unmended == 0;
  }
  EXPECT_GE(mended * 100, wanted * 99) << mended << " of " << wanted << " were mended, seed " << seed;
  for (uint64_t object = 1; object <= OBJECTS; ++object) {
    expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, w.contents(object));
  }
}

TEST(DiskFaults, flipsInDataAreMended) {
  flipAndMend(31, Where::DATA);
}

TEST(DiskFaults, flipsInHeadersAreMended) {
  flipAndMend(32, Where::HEADER);
}

TEST(DiskFaults, flipsInChecksumsAreMended) {
  flipAndMend(33, Where::SUMS);
}

void leaveOutAndJoin(FaultWorld& w, const std::string& server) {
  std::vector<std::string> others;
  for (auto& name : {"c1", "c2", "c3"}) {
    if (name != server) {
      others.push_back(name);
    }
  }
  w.master.setAll(others);
  w.master.publish();
  VolumeId id = w.master.servers.at(server).volumes.at(0);
  ASSERT_TRUE(w.until([&] { return w.master.servers.at(server).failed[id].empty(); })) << "it isn't opened anew";
  w.master.setAll(others, {server});
  w.master.publish();
  ASSERT_TRUE(w.awaitCaughtUp(server));
  others.push_back(server);
  w.master.setAll(others);
  w.master.publish();
  ASSERT_TRUE(w.awaitReady(server));
}

// A damaged index takes its volume out of service, not the server; it is made again, and small chunks are fetched.
TEST(DiskFaults, flipsInTheIndexAreMended) {
  unsigned found = 0;
  unsigned wanted = faultsWanted(6);
  for (unsigned fault = 0; fault < wanted; ++fault) {
    SCOPED_TRACE("seed " + std::to_string(500 + fault));
    FaultWorld w(500 + fault, 450);
    std::string server = w.anyServer();
    std::vector<std::string> hit;
    while (hit.empty()) {  // it may aim past a file's end
      hit = w.disk(server).rot(1, [tables = fault % 2 == 0](const std::string& path) {
        return path.rfind("index/", 0) == 0 && (!tables || path.find(".ldb") != std::string::npos);
      });
    }
    SCOPED_TRACE(hit[0]);
    w.disk(server).dropCache();
    w.scrub(server, true);
    w.world.runFor(10 * SECOND);
    VolumeId id = w.master.servers.at(server).volumes.at(0);
    if (!w.master.servers.at(server).failed[id].empty()) {
      ++found;
      ASSERT_NO_FATAL_FAILURE(leaveOutAndJoin(w, server));
    }
    for (uint64_t object = 1; object <= OBJECTS; ++object) {
      expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, w.contents(object));
    }
    for (uint64_t object = SMALL; object < SMALL + w.smalls; object += 7) {
      expectEverywhere(w, {"c1", "c2", "c3"}, object, 0, w.small(object));
    }
  }
  EXPECT_GE(found * 3, wanted) << "of " << wanted << " only " << found << " were noticed";
}

TEST(DiskFaults, aScrubLooksAtEverythingAndSaysSo) {
  FaultWorld w(41);
  ASSERT_TRUE(w.scrubWhole("c3"));
  auto seen = w.scrub("c3", false);
  EXPECT_EQ(seen.bad, 0u);
  EXPECT_EQ(seen.unmended, 0u);
  EXPECT_EQ(seen.differing, 0u);
}

}  // namespace
}  // namespace cairn::replication_test
