// Fences: which accepted mutations of which sessions are under way on this server, and up to which map version the
// fenced ones have none left. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <set>

#include "common/ids.h"

namespace cairn {

class Fences {
 public:
  // The map says that these sessions are fenced, as of `version`. From here on the caller refuses them.
  void update(MapVersion version, std::set<SessionId> fenced);
  bool isFenced(SessionId session) const { return fenced_.count(session) != 0; }

  // A mutation of `session` was accepted; leave() when it can't land any more, here or through this server.
  void enter(SessionId session) { ++running_[session]; }
  void leave(SessionId session);

  // Every session fenced up to this version has no accepted mutation left here.
  MapVersion drained() const;

 private:
  std::set<SessionId> fenced_;
  std::map<SessionId, uint32_t> running_;
  MapVersion version_{};
  // Fenced sessions with mutations under way, and the last version before they were fenced.
  std::map<SessionId, MapVersion> draining_;
};

}  // namespace cairn
