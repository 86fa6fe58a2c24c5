// MapHolder: the newest shard map that the master has pushed, and waits for a newer one.
#pragma once
#include "common/task.h"
#include "fuse-client/client/signal.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"

namespace cairn {

class MapHolder {
 public:
  class Listener {
   public:
    // Before anybody who waits for the new map goes on.
    virtual void mapChanged() = 0;
  };

  explicit MapHolder(Listener& listener) : listener_(listener) {}
  KJ_DISALLOW_COPY(MapHolder);

  // Version 0 and empty until the first push.
  const ShardMap& map() const { return map_; }
  // What the master pushes to. Lives no longer than this.
  wire::MapWatcher::Client watcher();
  // Resolves at the next change.
  kj::Promise<void> changed() { return changed_.wait(); }
  // Resolves when a map of `version` or later is here.
  Task<void> reached(MapVersion version);
  // Resolves when the shard's epoch isn't `epoch` any more.
  Task<void> epochEnded(ShardId shard, Epoch epoch);

 private:
  class Watcher;

  Listener& listener_;
  ShardMap map_;
  Signal changed_;
};

}  // namespace cairn
