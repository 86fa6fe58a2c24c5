// WorkRunner: what the master asks of primaries: delete the chunks of objects that no inode points at any more, apply
// cuts. Each item is done for every shard whose primary this server is, through the ordinary replicated mutations.
#pragma once
#include <kj/async.h>

#include <deque>
#include <map>
#include <vector>

#include "chunkserver/replication/replicator.h"
#include "schema/master.capnp.h"

namespace cairn {

class WorkRunner final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint32_t ITEMS_AT_ONCE = 256;
  static constexpr uint32_t MUTATIONS_AT_ONCE = 256;
  static constexpr uint32_t CHUNKS_AT_ONCE = 16;  // of one object
  // Up to so many chunks are looked up one by one; beyond, shard by shard.
  static constexpr uint32_t SINGLE_LOOKUPS_MAX = 64;
  static constexpr uint32_t TRIES_MAX = 50;

  WorkRunner(Clock& clock, Membership& membership, Replicator& replicator);
  ~WorkRunner() noexcept(false);
  KJ_DISALLOW_COPY(WorkRunner);

  // Starts what is new.
  void take(wire::Work::Reader work);
  // What is done for the map that is here now. What was done under an older one is done again first.
  std::vector<uint64_t> done();
  // The master has them: forget them.
  void reported(const std::vector<uint64_t>& ids);
  Wakeup finished;
  // Removes the object's chunks in a shard that this server is primary of. False: not all of them could be.
  Task<bool> remove(ShardId shard, ObjectId object);

 private:
  struct Item {
    ObjectId object{};
    ClassId cls{};
    uint32_t chunks = 0;
    uint32_t first = 0;  // chunks below are not touched
    bool cut = false;
    uint8_t chunkBits = 0;
    uint32_t generation = 0;
    uint64_t firstDead = 0;
    bool ended = false;
    MapVersion doneAt{};
  };

  void taskFailed(kj::Exception&& e) override;
  void start(uint64_t id, Item item);
  Task<void> run(uint64_t id);
  Task<bool> runOnce(Item item);
  Task<bool> change(Item item, ReplicaUnit& unit, ChunkId chunk);
  Task<bool> changeAll(Item item, std::vector<std::pair<ReplicaUnit*, ChunkId>> found);
  // Whether all shards concerned can be worked on; and the chunks there are.
  bool collect(const Item& item, std::vector<std::pair<ReplicaUnit*, ChunkId>>& found);
  bool collectOf(const Item& item, ShardId shard, std::vector<std::pair<ReplicaUnit*, ChunkId>>& found);

  Clock& clock_;
  Membership& membership_;
  Replicator& replicator_;
  Permits items_{ITEMS_AT_ONCE};
  Permits mutations_{MUTATIONS_AT_ONCE};
  std::map<uint64_t, Item> work_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
