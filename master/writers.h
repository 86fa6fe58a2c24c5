// Writers: what an answer tells of files that other sessions write. Their sizes and times are the writers' until these
// have told the master, so the writers are asked, and the answer says what their own programs see.
#pragma once
#include <map>
#include <vector>

#include "common/task.h"
#include "master/leases.h"
#include "schema/master.capnp.h"

namespace cairn {

class Writers {
 public:
  Writers(Leases& leases, SessionId but) : leases_(leases), but_(but) {}

  // Resolves when every session that might write what the query asks about is known.
  Task<void> allKnown(wire::Query::Reader query);
  // Adds to the answer what the writers say. False: one could not be asked, or writes no more: the state is to be read
  // again.
  Task<bool> overlay(wire::Answer::Builder answer);

 private:
  void note(wire::Attributes::Builder attributes);
  void take(const Leases::Written& told);
  static void takeInto(wire::Attributes::Builder attributes, const Leases::Written& told);

  Leases& leases_;
  const SessionId but_;
  std::map<SessionId, std::vector<InodeId>> writers_;
  std::multimap<InodeId, wire::Attributes::Builder> files_;  // several names of one may be in an answer
};

}  // namespace cairn
