#include "chunkserver/replication/fences.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

template <typename Id>
void Fences::Drain<Id>::close(Id id, MapVersion before) {
  if (running.count(id) != 0) {
    draining.try_emplace(id, before);
  }
}

template <typename Id>
void Fences::Drain<Id>::leave(Id id) {
  auto it = running.find(id);
  KJ_ASSERT(it != running.end() && it->second > 0, raw(id));
  if (--it->second == 0) {
    running.erase(it);
    draining.erase(id);
  }
}

void Fences::update(MapVersion version, std::set<SessionId> fenced, std::set<ObjectId> sealed) {
  for (SessionId session : fenced) {
    sessions_.close(session, version_);
  }
  for (ObjectId object : sealed) {
    if (sealed_.count(object) == 0) {
      objects_.close(object, version_);
    }
  }
  fenced_ = std::move(fenced);
  sealed_ = std::move(sealed);
  version_ = version;
}

void Fences::enter(SessionId session, ObjectId object) {
  ++sessions_.running[session];
  ++objects_.running[object];
}

void Fences::leave(SessionId session, ObjectId object) {
  sessions_.leave(session);
  objects_.leave(object);
}

MapVersion Fences::drained() const {
  MapVersion lowest = version_;
  for (auto& [session, before] : sessions_.draining) {
    lowest = std::min(lowest, before);
  }
  for (auto& [object, before] : objects_.draining) {
    lowest = std::min(lowest, before);
  }
  return lowest;
}

}  // namespace cairn
