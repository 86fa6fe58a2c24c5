// RaftLinks: carries the messages of this master's Raft core to the other masters, in order, one connection each, and
// snapshots in pieces. What can't be sent is dropped: the core asks again.
#pragma once
#include <kj/async.h>

#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/task.h"
#include "master/raft/membership.h"
#include "master/raft/message.h"
#include "rpc/connection.h"
#include "rpc/network.h"
#include "rpc/program.h"
#include "schema/master.capnp.h"

namespace cairn {

struct RaftLinkSeams {
  Clock& clock;
  Random& random;
  Network& network;
  Disk& disk;  // where the snapshots are
};

class RaftLink;

class RaftLinks final : private kj::TaskSet::ErrorHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() noexcept(false) = default;
    virtual void onUnreachable(raft::MemberId member) = 0;
    virtual void onSnapshotSent(raft::MemberId member, bool arrived) = 0;
    virtual GroupEpoch ownEpoch() const = 0;
    // Another master is of that epoch.
    virtual void onEpoch(GroupEpoch epoch) = 0;
  };

  RaftLinks(RaftLinkSeams seams, const ClusterFile& cluster, std::string name, raft::MemberId self, Owner& owner);
  ~RaftLinks() noexcept(false);

  // Whom to keep a connection to. Takes effect in a later turn.
  void setMembers(const raft::Membership& membership);
  // Somebody speaks to this master whom it doesn't know: it may be new to the group, and must be able to answer.
  void meet(raft::MemberId id, const std::string& name);
  void send(raft::Message message);
  // Sends the snapshot that the message names; ends with Owner::onSnapshotSent().
  void sendSnapshot(raft::Message message);
  // Of that member's state after an entry; nothing when it doesn't know or doesn't answer.
  Task<std::optional<uint64_t>> askDigest(raft::MemberId member, LogIndex index);
  void tellDiffers(raft::MemberId member, LogIndex index);
  // As the member said when it was last connected to; nothing when it hasn't been.
  std::optional<Program> program(raft::MemberId member) const;

 private:
  friend class RaftLink;
  void applyMembers();
  void dismiss(raft::MemberId id, const std::string& name);
  void taskFailed(kj::Exception&& exception) override;

  RaftLinkSeams seams_;
  const ClusterFile cluster_;
  const std::string name_;
  const raft::MemberId self_;
  Owner& owner_;
  raft::Membership wanted_;
  std::map<std::string, raft::MemberId> guests_;  // by name; masters that cluster.toml names
  bool membersDue_ = false;
  std::map<raft::MemberId, kj::Own<RaftLink>> links_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
