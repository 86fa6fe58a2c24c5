// A master in memory for tests of the client library: a namespace with the meaning that master.capnp gives it,
// sessions with reply slots, holds, a shard map to push. No permissions, no log.
#pragma once
#include <capnp/message.h>
#include <kj/async.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rpc/connection.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"
#include "tests/sim/world/world.h"

namespace cairn {

struct FakeInode {
  uint64_t id = 0;
  uint32_t mode = 0, uid = 0, gid = 0, links = 1, device = 0;
  uint64_t size = 0, allocated = 0, parent = 0, object = 0;
  uint32_t generation = 0;
  std::vector<std::pair<uint32_t, uint64_t>> cuts;
  int64_t modifiedSeconds = 0;
  uint32_t modifiedNanos = 0;
  std::string target;
  std::map<std::string, std::string> xattrs;
  struct Entry {
    uint64_t inode, cookie;
  };
  std::map<std::string, Entry> entries;
  uint64_t nextCookie = 1;
};

class FakeMaster {
 public:
  // What happens to a call, decided when it arrives.
  enum class Fate { NORMAL, BREAK_BEFORE, BREAK_AFTER };

  FakeMaster(World& world, ClusterId cluster, std::string host);

  void start();
  void stop();  // connections break; sessions and names stay
  Address address() const { return host_ + ":7000"; }
  void listenOn(const std::string& socket);
  unsigned socketConnections = 0;

  // The map clients get; push() after a change raises the version and tells them all.
  ShardMap map;
  void push();

  void evict(SessionId session) { sessions_.erase(raw(session)); breakLinks(); }
  void breakLinks() { world_.network().reset(host_); }

  FakeInode* find(uint64_t id);
  FakeInode* at(const std::string& name);  // in the root
  const std::set<uint64_t>& holds(uint64_t session) { return sessions_.at(session).holds; }
  size_t sessionCount() const { return sessions_.size(); }

  std::function<Fate(const char* kind)> fate;  // "execute", "read", "hold", "renew", "attach"
  uint8_t chunkBits = 16;
  Nanos lease = 10 * SECOND;
  uint64_t executed = 0, replayed = 0, reads = 0, holdCalls = 0, written = 0;
  std::vector<std::string> log;  // one word per executed op

 private:
  friend class FakeDoor;
  friend class FakeMasterService;
  friend class FakeSession;

  struct Slot {
    uint64_t sequence = 0;
    kj::Own<capnp::MallocMessageBuilder> reply;
  };
  struct Session {
    std::map<uint8_t, Slot> slots;
    std::set<uint64_t> holds;
  };

  void execute(uint64_t session, wire::Op::Reader op, wire::Reply::Builder reply);
  int make(uint64_t session, wire::Op::Make::Reader op, wire::Reply::Builder reply);
  int link(wire::Op::Link::Reader op, wire::Reply::Builder reply);
  int unlink(wire::Op::Unlink::Reader op, wire::Reply::Builder reply);
  int rename(wire::Op::Rename::Reader op, wire::Reply::Builder reply);
  int setAttributes(wire::SetAttributes::Reader op, wire::Reply::Builder reply);
  int wrote(capnp::List<wire::Written>::Reader items, wire::Reply::Builder reply);
  int answer(wire::Query::Reader query, wire::Answer::Builder answer);
  int readDirectory(wire::Query::ReadDirectory::Reader query, wire::Answer::Builder answer);
  void resize(FakeInode& inode, uint64_t size, bool onlyGrow);
  void lost(FakeInode& inode);
  bool isHeld(uint64_t inode) const;
  void describe(const FakeInode& inode, wire::Attributes::Builder out) const;
  void touch(FakeInode& inode);
  kj::Promise<void> breaking();
  // It recalls nothing, so a client gets a lease on attributes only when it is alone.
  uint8_t leased() const { return sessions_.size() == 1 ? wire::LEASED_ATTRIBUTES : uint8_t{0}; }
  Fate decide(const char* kind) { return fate ? fate(kind) : Fate::NORMAL; }

  World& world_;
  const ClusterId cluster_;
  const std::string host_;
  kj::Own<RpcServer> server_, socketServer_;
  std::map<uint64_t, FakeInode> inodes_;
  std::map<uint64_t, Session> sessions_;
  std::vector<wire::MapWatcher::Client> watchers_;
  uint64_t nextInode_ = 2, nextObject_ = 100, nextSession_ = 1, index_ = 1;
};

}  // namespace cairn
