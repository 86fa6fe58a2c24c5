// MapPublisher: pushes the shard map to everybody who watches it: all of it at first, then what changed. One push
// under way to a watcher; changes meanwhile are gathered into the next. Who doesn't answer in time is dropped.
#pragma once
#include <kj/async.h>
#include <kj/function.h>

#include <map>
#include <string>

#include "common/clock.h"
#include "common/task.h"
#include "rpc/shard_map.h"
#include "schema/master.capnp.h"

namespace cairn {

class MapPublisher final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos PUSH_LIMIT = 10 * SECOND;
  static constexpr size_t WATCHERS_MAX = 32768;

  // `map` is the replicated one, as of the last applied entry.
  MapPublisher(Clock& clock, const ShardMap& map);
  ~MapPublisher() noexcept(false);

  // `onLost` is called when the watcher was dropped: whoever it is must be made to come again. 0: too many watchers.
  uint64_t add(wire::MapWatcher::Client client, std::string name, kj::Function<void()> onLost);
  void remove(uint64_t watcher);
  // The map has changed: to be pushed at the end of this turn.
  void changed();
  size_t size() const { return watchers_.size(); }

 private:
  struct Watcher {
    wire::MapWatcher::Client client;
    std::string name;
    kj::Function<void()> onLost;
    MapVersion known{};
    bool busy = false;
  };

  void publish();
  Task<void> serve(uint64_t id);
  Task<MapVersion> push(wire::MapWatcher::Client client, MapVersion from);
  void lose(uint64_t id, const std::string& why);
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  const ShardMap& map_;
  std::map<uint64_t, Watcher> watchers_;
  uint64_t lastWatcher_ = 0;
  bool publishDue_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
