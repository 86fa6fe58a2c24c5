// Chunkservers in memory for tests of the client library: chunks with the meaning that chunk.capnp gives them, applied
// on all in-sync members at once. Each server has a copy that a crash leaves (what was synced) and can misbehave
// as told.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "rpc/connection.h"
#include "schema/chunk.capnp.h"
#include "tests/sim/world/world.h"
#include "tests/unit/client/fake_master.h"

namespace cairn {

struct FakeChunk {
  std::vector<kj::byte> bytes;  // whole blocks
  std::vector<uint64_t> sums;   // 0: hole
  uint32_t generation = 0;
};

class FakeServer {
 public:
  FakeServer(World& world, FakeMaster& master, std::vector<FakeServer*>& all, unsigned number);

  std::string host() const { return "c" + std::to_string(number_); }
  VolumeNumber volume() const { return VolumeNumber{number_}; }
  ServerRecord record() const;

  // Loses what was not synced and comes back as another incarnation.
  void crash();
  // The same without a restart: as a member that is left out and joins one that lost it.
  void rejoin();
  void powerOff();
  void powerOn();
  // Flips a bit of a stored block without touching its checksum.
  void corrupt(uint64_t object, uint32_t index, uint32_t offset);
  FakeChunk* chunk(uint64_t object, uint32_t index);

  // What to answer instead of doing the work: called for "write", "read", "sync", "punch".
  std::function<wire::Verdict(const char* kind)> verdict;
  // Breaks the connection after (or instead of) the work.
  std::function<FakeMaster::Fate(const char* kind)> fate;
  // Its answer is held back so long.
  std::function<Nanos(const char* kind)> slowness;
  bool checksItself = true;  // answers `corrupt` for bad blocks; false: sends them, for the client to find
  unsigned writes = 0, reads = 0, syncs = 0, punches = 0, durableWrites = 0, reports = 0;
  uint64_t readBytes = 0;
  Incarnation incarnation;
  uint64_t since = 1;

 private:
  friend class FakeChunkService;
  friend class FakeChunkDoor;

  using Key = std::pair<uint64_t, uint32_t>;
  using Store = std::map<Key, FakeChunk>;

  void serve();
  wire::Verdict check(wire::Target::Reader target, bool primary) const;
  FakeChunk& open(Store& store, wire::Target::Reader target);
  // All members' stores together, each durable as well when asked.
  wire::Verdict applyWrite(wire::Target::Reader target, capnp::List<wire::Piece>::Reader pieces, bool durable);
  void applyPunch(wire::Target::Reader target, uint32_t offset, uint32_t length);
  void applySync(wire::Target::Reader target);
  void writePieces(FakeChunk& chunk, capnp::List<wire::Piece>::Reader pieces);
  std::vector<FakeServer*> members(uint32_t shard) const;

  World& world_;
  FakeMaster& master_;
  std::vector<FakeServer*>& all_;
  const unsigned number_;
  ServerId id_;
  kj::Own<RpcServer> server_;
  Store now_, synced_;
};

}  // namespace cairn
