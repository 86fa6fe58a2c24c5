// Load: clients that write and read through whoever thinks it leads, and an operator who adds, promotes, removes and
// replaces members, hands leadership over and makes snapshots, at any moment.
#pragma once
#include "tests/sim/raft/world/raft_cluster.h"

namespace cairn::raft {

class Load {
 public:
  static constexpr size_t MEMBERS_MAX = 7;

  explicit Load(RaftCluster& cluster) : cluster_(cluster) {}

  // One request of a client.
  void request();
  // Of that member, if it thinks that it leads: a write, or a read under its lease.
  void requestFrom(MemberId member);
  // One action of the operator.
  void operate();
  // Members that are out of the group and gone, or going.
  void retire();
  uint64_t writes() const { return writes_; }

 private:
  void write(MemberId leader);
  void changeMembership(MemberId leader);
  bool anyDamage() const;

  RaftCluster& cluster_;
  uint64_t writes_ = 0;
};

}  // namespace cairn::raft
