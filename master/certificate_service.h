// Certificates by the leading master: for new nodes that have a token, for those whose own is getting old, for admins.
#pragma once
#include "master/core.h"
#include "master/doorway.h"
#include "rpc/network.h"
#include "schema/security.capnp.h"

namespace cairn {

// What a stranger finds on a master's port.
wire::Enrollment::Client newEnrollment(Doorway& doorway, PeerIdentity peer);
wire::CertificateAdmin::Client newCertificateAdmin(Lifeline& lifeline);

// `request` is for somebody who has proven to be `name`.
Task<Result<std::string>> renewCertificate(Core& core, CertifiedName name, std::string request);

}  // namespace cairn
