// FencedList: when an ended session may leave the map's fenced list. Pure. A chunkserver refuses the writes of a fenced
// session; the entry may go once no such write can exist any more: every chunkserver that keeps a shard has confirmed
// that it knows the entry and has none under way, and a message of that client can't be in a socket either.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "common/clock.h"
#include "rpc/shard_map.h"

namespace cairn {

// The version up to which every chunkserver that keeps a shard has confirmed that nothing of what the map closes is
// under way there. `drained`: what each has said.
MapVersion drainedEverywhere(const ShardMap& map, const std::map<ServerId, MapVersion>& drained);

class FencedList {
 public:
  // TCP gives up sending after about 15 minutes; what a client sent before it ended is gone by then.
  static constexpr Nanos KEEP = 20 * 60 * SECOND;
  static constexpr size_t REMOVED_AT_ONCE_MAX = 1024;

  // Takes over the map's list. Entries not seen before count from now and from the map's version.
  void update(const ShardMap& map, Nanos now);
  // Entries that may go. `drained`: the version up to which each chunkserver has confirmed its fences.
  std::vector<SessionId> removable(const ShardMap& map, const std::map<ServerId, MapVersion>& drained, Nanos now) const;

 private:
  struct Entry {
    MapVersion version{};
    Nanos since = 0;
  };
  std::map<SessionId, Entry> entries_;
};

}  // namespace cairn
