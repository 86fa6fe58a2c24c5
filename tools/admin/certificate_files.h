// Certificates made on this host, by the authority's own key.
#pragma once
#include "common/security/certificates.h"
#include "rpc/system_network_setup.h"

namespace cairn::admin {

// A new key and a certificate for it, in `directory`.
Status issueHere(const Authority& authority, const ClusterFile& cluster, const OwnIdentity& identity, int64_t now,
                 const std::string& directory);

}  // namespace cairn::admin
