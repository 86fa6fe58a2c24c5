#include "master/map_publisher.h"

#include "common/log.h"
#include "rpc/connection.h"

namespace cairn {

MapPublisher::MapPublisher(Clock& clock, const ShardMap& map) : clock_(clock), map_(map), tasks_(*this) {}
MapPublisher::~MapPublisher() noexcept(false) = default;

void MapPublisher::taskFailed(kj::Exception&& e) {
  spdlog::error("pushing the map: {}", kj::str(e).cStr());
}

uint64_t MapPublisher::add(wire::MapWatcher::Client client, std::string name, kj::Function<void()> onLost) {
  if (watchers_.size() >= WATCHERS_MAX) {
    return 0;
  }
  uint64_t id = ++lastWatcher_;
  watchers_.emplace(id, Watcher{kj::mv(client), std::move(name), kj::mv(onLost), MapVersion{}, false});
  changed();
  return id;
}

void MapPublisher::remove(uint64_t watcher) {
  watchers_.erase(watcher);
}

void MapPublisher::changed() {
  if (!publishDue_) {
    publishDue_ = true;
    tasks_.add(kj::evalLast([this] { publish(); }));
  }
}

void MapPublisher::publish() {
  publishDue_ = false;
  for (auto& [id, watcher] : watchers_) {
    if (!watcher.busy && watcher.known != map_.version) {
      watcher.busy = true;
      tasks_.add(serve(id).promise());
    }
  }
}

Task<MapVersion> MapPublisher::push(wire::MapWatcher::Client client, MapVersion from) {
  auto request = client.pushRequest();
  map_.encode(request.initMap(), from);
  kj::Promise<capnp::Response<wire::MapWatcher::PushResults>> sent = request.send();
  auto answer = co_await withDeadline(clock_, PUSH_LIMIT, kj::mv(sent), "the map");
  co_return MapVersion{answer.getHave()};
}

// Until the watcher has the map as it is.
Task<void> MapPublisher::serve(uint64_t id) {
  for (;;) {
    auto it = watchers_.find(id);
    if (it == watchers_.end()) {
      co_return;
    }
    MapVersion from = it->second.known;
    if (from == map_.version) {
      it->second.busy = false;
      co_return;
    }
    MapVersion sent = map_.version;
    MapVersion have{};
    std::string failure;
    try {
      MapVersion answer = co_await push(it->second.client, from);
      have = answer;
    } catch (const kj::Exception& e) {
      failure = e.getDescription().cStr();
    }
    if (failure.empty() && have > map_.version) {
      failure = "it knows a newer map than this master has: this master's history is shorter than the cluster's";
    } else if (failure.empty() && have < sent && raw(from) == 0) {
      failure = "it did not take the complete map";
    }
    if (!failure.empty()) {
      lose(id, failure);
      co_return;
    }
    it = watchers_.find(id);
    if (it != watchers_.end()) {
      it->second.known = have >= sent ? have : MapVersion{};  // what it has is no base for changes: all of it, then
    }
  }
}

void MapPublisher::lose(uint64_t id, const std::string& why) {
  auto it = watchers_.find(id);
  if (it == watchers_.end()) {
    return;
  }
  spdlog::warn("{} does not follow the shard map, so its link counts as broken: {}", it->second.name, why);
  auto onLost = kj::mv(it->second.onLost);
  watchers_.erase(it);
  onLost();
}

}  // namespace cairn
