// Which TcpSecurity a program has, by its cluster.toml and the files beside it.
#pragma once
#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/random.h"
#include "common/security/join_token.h"
#include "rpc/system_network.h"

namespace cairn {

struct OwnIdentity {
  PeerRole role = PeerRole::CLIENT;
  std::string name;
};

// `insecure`: --insecure. Daemons (masters and chunkservers) need a certificate; clients and admins may go without one,
// where Unix sockets do.
Result<TcpSecurity> tcpSecurityOf(const ClusterFile& cluster, const OwnIdentity& self, bool insecure);

// Certificate and private key, as readSecretFile() finds them.
Result<TlsMaterial> readMaterial(const ClusterFile& cluster, const OwnIdentity& self);

// Renews this process's certificate in its file and in `network` before it expires. What is named must outlive the
// promise; dropping that ends it.
kj::Promise<void> keepOwnCertificate(SystemNetwork& network, Clock& clock, Random& random, const ClusterFile& cluster,
                                     OwnIdentity self);

// What --join TOKEN does before a daemon's first start: writes its certificate, and the cluster file at `path` if it
// isn't there. A node that has its certificate needs no token any more, and the one given isn't looked at.
// Without a certificate of its own `network` is newJoiningNetwork(); `file`: as `path` below.
Task<Status> join(Network& network, Clock& clock, JoinToken token, std::string file);
Status joinByToken(kj::AsyncIoContext& io, Clock& clock, const std::string& token, const OwnIdentity& self,
                   const std::string& path);

}  // namespace cairn
