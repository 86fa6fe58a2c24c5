// WorkQueue: clean-up work for primaries, from the reclaim and the cut queue of the state: who has to do it, who was
// told, when it is done. Pure. Work is done when every shard that the object may have chunks in has been confirmed by
// a server that was that shard's primary; handing it out twice does no harm.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "common/clock.h"
#include "rpc/shard_map.h"

namespace cairn {

// One entry of either queue. The rest of a cut travels beside it.
struct WorkItem {
  uint64_t id = 0;
  ObjectId object{};
  ClassId cls{};
  uint32_t chunks = 0;
  Nanos notBefore = 0;  // unless there is a hurry
  bool firm = false;    // not even then
};

class WorkQueue {
 public:
  static constexpr size_t ITEMS_MAX = 4096;         // under way
  static constexpr size_t SHARDS_MAX = 256 << 10;   // of all of them together: bounds the memory
  static constexpr size_t HANDED_MAX = 4096;        // to one server, unconfirmed
  static constexpr Nanos HAND_AGAIN = 10 * SECOND;  // the reply may have been lost

  // Claims made under a map older than `oldest` don't count: this master doesn't know what changed before.
  explicit WorkQueue(MapVersion oldest) : oldest_(oldest) {}

  bool hasRoom() const { return items_.size() < ITEMS_MAX && shardsOpen_ < SHARDS_MAX; }
  // REQUIRES: ids rise.
  void add(const WorkItem& item, const ShardMap& map);
  bool contains(uint64_t id) const { return items_.contains(id); }

  // Ids for `server` to do now, at most `max`. `hurry`: also what could wait.
  std::vector<uint64_t> handOut(ServerId server, const ShardMap& map, Nanos now, size_t max, bool hurry = false);
  // `server` has done it for every shard whose primary it was at `mapVersion`.
  void done(ServerId server, uint64_t id, MapVersion mapVersion, const ShardMap& map);
  // The server has restarted: it knows of no work.
  void forget(ServerId server);
  // Ids that are done everywhere, at most `max`; they stay until removed.
  std::vector<uint64_t> finished(size_t max) const;
  void remove(uint64_t id);
  size_t size() const { return items_.size(); }

 private:
  struct Item {
    std::vector<ShardId> open;  // shards not confirmed yet
    std::map<ServerId, Nanos> handed;
    Nanos notBefore = 0;
    bool firm = false;
  };
  static std::vector<ShardId> shardsOf(const WorkItem& item, const ShardMap& map);

  std::map<uint64_t, Item> items_;
  std::set<uint64_t> finished_;
  std::map<ServerId, size_t> handedTo_;
  size_t shardsOpen_ = 0;
  const MapVersion oldest_;
};

}  // namespace cairn
