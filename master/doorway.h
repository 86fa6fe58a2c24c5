// Doorway: what stands behind a master's ports, whether it leads or not. While it leads there is an office: the
// services for clients, chunkservers and admins. Connections keep the doorway alive, perhaps longer than the master
// itself.
#pragma once
#include <kj/refcount.h>

#include <string>

#include "master/core.h"
#include "master/raft_service.h"

namespace cairn {

class Doorway final : public kj::Refcounted {
 public:
  Doorway(Replica& replica, ClusterId clusterId, std::string masterName, CertificateAuthority* certificates = nullptr)
      : cluster(clusterId),
        name(std::move(masterName)),
        authority(certificates),
        replica_(&replica),
        line_(kj::refcounted<GroupLine>(replica.group())) {}

  const ClusterId cluster;
  const std::string name;                 // of this master
  CertificateAuthority* const authority;  // null: the cluster has no certificates. Outlives the process's ports

  // Throws DISCONNECTED once the master is going.
  Replica& replica() {
    if (replica_ == nullptr) {
      kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "this master is stopping"));
    }
    return *replica_;
  }
  // Null while this master doesn't lead.
  Lifeline* office() { return office_.get(); }
  void setOffice(kj::Own<Lifeline> office) { office_ = kj::mv(office); }
  GroupLine& line() { return *line_; }
  void close() {
    replica_ = nullptr;
    office_ = nullptr;
    line_->cut();
  }

 private:
  Replica* replica_;
  kj::Own<Lifeline> office_;
  kj::Own<GroupLine> line_;
};

}  // namespace cairn
