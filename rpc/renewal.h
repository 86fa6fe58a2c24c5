// Certificates over the network, from the side that needs one: renewing one's own before it expires, without a restart,
// and getting the first one for a join token.
#pragma once
#include <kj/function.h>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/random.h"
#include "common/security/certificates.h"
#include "common/security/join_token.h"
#include "common/task.h"
#include "rpc/network.h"

namespace cairn {

struct RenewalParts {
  Network& network;
  Clock& clock;
  Random& random;
  const ClusterFile& cluster;
  CertifiedName self;
};

// Another certificate for who has one, with a new private key: both in one PEM text.
Task<Result<std::string>> renewCertificate(RenewalParts parts);

// For as long as the process lives. `validity` tells of the certificate in use (none: there is nothing to do); `take`
// gets each new one to keep and use.
Task<void> keepCertificate(RenewalParts parts, kj::Function<std::optional<Validity>()> validity,
                           kj::Function<Status(const std::string& identityPem)> take);

// The authority's private key from another master.
Task<Result<std::string>> fetchAuthorityKey(RenewalParts parts);

// What a token gets.
struct Enrolled {
  std::string identityPem;
  std::string authorityPem;
  std::string clusterFile;
};
// `network` is of a process without a certificate (newJoiningNetwork), and lets nobody but the token's masters be
// spoken to. Asks them all until one that leads has answered, for `limit` at most.
Task<Result<Enrolled>> enroll(Network& network, Clock& clock, JoinToken token, Nanos limit);

}  // namespace cairn
