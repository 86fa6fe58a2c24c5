// The directory that cluster.toml's [security] names: what this host has of the cluster's certificates.
//
//   ca.crt               the authority's certificate: whom to trust
//   ca.key               its private key: at the masters, and with whoever made the cluster
//   ROLE.NAME.pem        certificate and private key of one identity, in one file, so that both change at once
#pragma once
#include <string>

#include "common/result.h"
#include "common/security/identity.h"

namespace cairn {

std::string authorityFile(const std::string& directory);
std::string authorityKeyFile(const std::string& directory);
std::string identityFile(const std::string& directory, PeerRole role, const std::string& name);

// The name whose identity a program without one of its own uses: "default", or the first there is; "default" too when
// there is none.
std::string usualIdentity(const std::string& directory, PeerRole role);

// ENOENT when absent. EPERM: it is a secret, and others than its owner may read it.
Result<std::string> readCertificateFile(const std::string& path);
Result<std::string> readSecretFile(const std::string& path);
// The old or the new one, whole, whenever the power goes; readable by nobody but its owner (a secret) or by all. The
// directory is made when it is missing.
Status writeCertificateFile(const std::string& path, const std::string& text);
Status writeSecretFile(const std::string& path, const std::string& text);
// A text file that must not be there yet: EEXIST.
Status writeNewFile(const std::string& path, const std::string& text);

}  // namespace cairn
