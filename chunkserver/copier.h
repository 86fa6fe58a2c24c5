// Copier: fills objects with the bytes of others, for files that are on their way into another replication class.
//
// The primaries of the new object's shards compare each of their chunks with the old one's, fetch what differs from
// that one's primary, with the checksums that it has, and write it through the ordinary replicated mutations, synced
// when it is told. Only a sealed object is written to, so from the map that makes it the file's nothing of this comes
// after what clients write. A survey asks the old object's primaries how many chunks there are, for clients may have
// written beyond the size that the master knows.
//
// The id of a work item has the low 32 bits free for what came of it: WORK_FAILED, or a survey's count.
#pragma once
#include <kj/async.h>

#include <map>
#include <vector>

#include "chunkserver/replication/replicator.h"
#include "rpc/copy_work.h"
#include "schema/master.capnp.h"

namespace cairn {

class Copier final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint32_t ITEMS_AT_ONCE = 64;
  static constexpr uint32_t CHUNKS_AT_ONCE = 4;    // being fetched and written
  static constexpr uint32_t LOOKS_AT_ONCE = 256;   // being compared
  static constexpr uint32_t TRIES_MAX = 30;
  static constexpr uint32_t RUN_BYTES_MAX = 1u << 20;  // in one mutation

  Copier(Clock& clock, Membership& membership, Replicator& replicator);
  ~Copier() noexcept(false);
  KJ_DISALLOW_COPY(Copier);

  void take(capnp::List<wire::CopyObject>::Reader copies);
  // The object's chunks are to be deleted.
  void abandon(ObjectId to);
  // What is done for all shards that this server leads by the map that is here now.
  std::vector<uint64_t> done();
  void reported(const std::vector<uint64_t>& ids);
  Wakeup finished;

 private:
  // Shards that this server leads, each with its turn when that was found.
  using Led = std::map<ShardId, uint64_t>;
  struct Item {
    ObjectId from{};
    ObjectId to{};  // 0: a survey
    ClassId fromClass{};
    ClassId toClass{};
    uint8_t chunkBits = 0;
    uint32_t chunks = 0;
    uint32_t outcome = 0;
    bool abandoned = false;  // a newer item fills the same object, or it goes
    bool ended = false;
    bool running = false;
    Led led;  // for which it has ended
  };
  // What a chunk's copying came to.
  enum class End { DONE, AGAIN, ROTTEN };
  // A chunk as its primary in the old class describes it.
  struct Source {
    MemberName member;
    ShardId shard{};
    Epoch epoch{};
    bool known = false;
    bool present = false;
    uint64_t digest = 0;
    uint32_t allocatedBytes = 0;
  };

  void taskFailed(kj::Exception&& e) override;
  void start(uint64_t id);
  Task<void> run(uint64_t id);
  Task<End> runOnce(Item& item);
  End survey(Item& item);
  bool isOccupied(const Item& item) const;
  // False: one of them can't be worked on now.
  bool findLed(const Item& item, Led& led);
  bool leads(ShardId shard, bool& usable, Led& led);
  Task<End> copyChunk(Item& item, uint32_t index);
  Task<Source> look(const Item& item, uint32_t index);
  Task<End> fetch(Item& item, ReplicaUnit& unit, uint64_t turn, uint32_t index, Source source);
  Task<End> write(Item& item, ReplicaUnit& unit, uint64_t turn, ChunkId chunk, wire::ChunkImage::Reader image,
                  uint32_t ownLength);
  Task<bool> mutate(Item& item, ReplicaUnit& unit, uint64_t turn, MutationSpec spec);
  Task<bool> empty(Item& item, ReplicaUnit& unit, uint64_t turn, ChunkId chunk, uint32_t generation, uint32_t from,
                   uint32_t to);
  void fillTarget(const Item& item, const ReplicaUnit& unit, ChunkId chunk, uint32_t generation,
                  wire::Target::Builder target) const;
  bool isCurrent(const Item& item, const ReplicaUnit& unit, uint64_t turn) const;

  Clock& clock_;
  Membership& membership_;
  Replicator& replicator_;
  Permits items_{ITEMS_AT_ONCE};
  Permits looks_{LOOKS_AT_ONCE};
  Permits chunks_{CHUNKS_AT_ONCE};
  std::map<uint64_t, kj::Own<Item>> work_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
