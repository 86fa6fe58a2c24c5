// Unsynced: bytes that chunkservers have acknowledged but may still lose, kept until a sync reply names a volume that
// acknowledged them under the same incarnation, in sync all the time since. What no such volume is left for is sent
// again, as soon as the map says so: a read then finds it among the buffered bytes. Bounded: beyond the bound it syncs
// the oldest files.
#pragma once
#include <kj/async.h>

#include <deque>
#include <vector>

#include "common/task.h"
#include "fuse-client/client/chunk_io.h"
#include "fuse-client/client/context.h"
#include "fuse-client/client/inode.h"
#include "rpc/shard_map.h"

namespace cairn {

class Unsynced final : private kj::TaskSet::ErrorHandler {
 public:
  // Sends bytes (or a punch) once more, unless newer ones are on their way over them.
  class Resender {
   public:
    virtual void resend(Inode& inode, Extent extent) = 0;
    // There may be room again where hasRoom() said no.
    virtual void roomMade() = 0;
  };

  Unsynced(Context& context, ChunkIo& io);
  void setResender(Resender& resender) { resender_ = &resender; }

  // Takes over acknowledged bytes; they replace older ones.
  void keep(Inode& inode, Extent extent);
  // These bytes are durable, or dead.
  void drop(Inode& inode, uint64_t from, uint64_t to);
  // There is room for more, or nothing is kept.
  bool hasRoom(uint64_t bytes) const;
  // Starts to sync the oldest files, whatever is kept.
  void makeRoom() { startBackground(0); }
  // Syncs every chunk with kept bytes. What turns out lost goes to the Resender, and FileWrites::resends rises.
  Task<Status> sync(kj::Own<Inode> inode);
  // Sends again what only earlier incarnations, or volumes that aren't in sync any more, have acknowledged.
  void mapChanged(const ShardMap& map);
  // Gives up what an ended session had acknowledged.
  void forget(Inode& inode);
  // Files with kept bytes, longest kept first.
  std::vector<kj::Own<Inode>> files() const;

 private:
  static constexpr size_t PARALLEL_MAX = 16;       // chunks of a file at once
  static constexpr size_t FILES_PARALLEL_MAX = 32;  // in the background
  static constexpr size_t PRUNE_FIRST = 1024;

  // The chunks of one sync(), and how far its parallel workers are.
  struct Round {
    std::vector<uint32_t> chunks;
    size_t next = 0;
    Status failed;
  };
  void sendAgain(Inode& inode, Extent lost);
  Task<void> syncNext(Inode& inode, Round& round);
  Task<Status> syncChunk(Inode& inode, uint32_t chunk);
  Task<Status> syncObject(Inode& inode, uint32_t chunk, ObjectId object, ClassId cls);
  void dropOf(Inode& inode, uint64_t from, uint64_t to, ObjectId object);
  // So that none passes over a layout between the one that it knows and the newest.
  Task<void> watch();
  void startBackground(uint64_t beyond);
  uint64_t threshold() const;
  void prune();
  Task<void> background(kj::Own<Inode> inode);
  void taskFailed(kj::Exception&& e) override;

  Context& context_;
  ChunkIo& io_;
  Resender* resender_ = nullptr;
  uint64_t newest_ = 0;  // order of the newest acknowledgement kept
  std::deque<kj::Own<Inode>> files_;
  size_t pruneAt_ = PRUNE_FIRST;
  size_t syncing_ = 0;
  bool watching_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
