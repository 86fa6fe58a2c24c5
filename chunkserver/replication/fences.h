// Fences: which accepted mutations are under way on this server, of which sessions and of which objects, and up to
// which map version the fenced sessions and the sealed objects have none left. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <set>

#include "common/ids.h"

namespace cairn {

class Fences {
 public:
  // The map says that these sessions are fenced and these objects sealed, as of `version`. From here on the caller
  // refuses them.
  void update(MapVersion version, std::set<SessionId> fenced, std::set<ObjectId> sealed);
  bool isFenced(SessionId session) const { return fenced_.count(session) != 0; }
  bool isSealed(ObjectId object) const { return sealed_.count(object) != 0; }

  // A mutation was accepted; leave() when it can't land any more, here or through this server.
  void enter(SessionId session, ObjectId object);
  void leave(SessionId session, ObjectId object);

  // Every session fenced and every object sealed up to this version has no accepted mutation left here. (What fills an
  // object that is sealed already doesn't count.)
  MapVersion drained() const;

 private:
  template <typename Id>
  struct Drain {
    std::map<Id, uint32_t> running;
    // Those that had mutations under way when they were closed, and the last version before.
    std::map<Id, MapVersion> draining;
    void close(Id id, MapVersion before);
    void leave(Id id);
  };

  std::set<SessionId> fenced_;
  std::set<ObjectId> sealed_;
  Drain<SessionId> sessions_;
  Drain<ObjectId> objects_;
  MapVersion version_{};
};

}  // namespace cairn
