#include "chunkserver/replication/fences.h"

#include <kj/debug.h>

namespace cairn {

void Fences::update(MapVersion version, std::set<SessionId> fenced) {
  for (auto& [session, count] : running_) {
    if (fenced.count(session) != 0) {
      draining_.try_emplace(session, version_);
    }
  }
  fenced_ = std::move(fenced);
  version_ = version;
}

void Fences::leave(SessionId session) {
  auto it = running_.find(session);
  KJ_ASSERT(it != running_.end() && it->second > 0, raw(session));
  if (--it->second == 0) {
    running_.erase(it);
    draining_.erase(session);
  }
}

MapVersion Fences::drained() const {
  MapVersion lowest = version_;
  for (auto& [session, before] : draining_) {
    lowest = before < lowest ? before : lowest;
  }
  return lowest;
}

}  // namespace cairn
