#include "fuse-client/client/map_holder.h"

namespace cairn {

class MapHolder::Watcher final : public wire::MapWatcher::Server {
 public:
  explicit Watcher(MapHolder& holder) : holder_(holder) {}

  kj::Promise<void> push(PushContext context) override {
    if (holder_.map_.apply(context.getParams().getMap())) {
      holder_.listener_.mapChanged();
      holder_.changed_.raise();
    }
    context.getResults().setHave(raw(holder_.map_.version));
    return kj::READY_NOW;
  }

 private:
  MapHolder& holder_;
};

wire::MapWatcher::Client MapHolder::watcher() { return kj::heap<Watcher>(*this); }

Task<void> MapHolder::reached(MapVersion version) {
  while (map_.version < version) {
    co_await changed_.wait();
  }
}

Task<void> MapHolder::epochEnded(ShardId shard, Epoch epoch) {
  for (;;) {
    const ShardRecord* record = map_.shard(shard);
    if (record == nullptr || record->epoch != epoch) {
      co_return;
    }
    co_await changed_.wait();
  }
}

}  // namespace cairn
