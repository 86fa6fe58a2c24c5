// The cluster's certificate authority at a master. Every master has its private key, so that any of them can let nodes
// in and renew certificates, and losing machines loses no cluster as long as one master is left.
#pragma once
#include <string>
#include <vector>

#include "common/cluster_file.h"
#include "common/security/certificates.h"

namespace cairn {

class CertificateAuthority {
 public:
  // `authority`: without its key until another master has sent it.
  CertificateAuthority(const ClusterFile& cluster, Authority authority)
      : authority_(std::move(authority)),
        cluster_(cluster.cluster),
        seconds_(cluster.certificateSeconds),
        clusterFile_(clusterFileText(cluster)) {}

  bool canSign() const { return !authority_.keyPem.empty(); }
  const std::string& keyPem() const { return authority_.keyPem; }
  const std::string& certificatePem() const { return authority_.certificatePem; }
  // For a node that is new.
  const std::string& clusterFile() const { return clusterFile_; }
  // EINVAL: it is another authority's.
  Status setKey(const std::string& keyPem) {
    auto paired = checkPair(keyPem, authority_.certificatePem);
    if (paired.ok()) {
      authority_.keyPem = keyPem;
    }
    return paired;
  }

  CertifiedName named(PeerRole role, const std::string& name) const { return {role, name, cluster_}; }
  // `revoked`: all that there is of them.
  Result<std::string> issue(const std::string& request, const CertifiedName& name, int64_t now,
                            const std::vector<Revocation>& revoked) const;

 private:
  Authority authority_;
  const ClusterId cluster_;
  const int64_t seconds_;
  const std::string clusterFile_;
};

}  // namespace cairn
