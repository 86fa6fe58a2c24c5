// What another master may ask of this one: its messages are taken, and the snapshots it sends. One for each connection.
#pragma once
#include <string>

#include "master/group.h"
#include "schema/raft.capnp.h"

namespace cairn {

// Outlives the group in capabilities of others: the group says when it goes.
class GroupLine final : public kj::Refcounted {
 public:
  explicit GroupLine(Group& group) : group_(&group) {}
  // Throws DISCONNECTED once the master is going.
  Group& group();
  void cut() { group_ = nullptr; }

 private:
  Group* group_;
};

// `name`: of the master at the other end.
wire::RaftPeer::Client newRaftPeer(GroupLine& line, std::string name);

}  // namespace cairn
