// Keys, certificates and the cluster's own certificate authority, all as PEM. Pure: who calls says what time it is.
#pragma once
#include <cstdint>
#include <string>

#include "common/result.h"
#include "common/security/identity.h"

struct x509_st;

namespace cairn {

constexpr int64_t DAY_SECONDS = 24 * 3600;
constexpr int64_t CERTIFICATE_SECONDS_MAX = 366 * DAY_SECONDS;
constexpr int64_t AUTHORITY_SECONDS = 3650 * DAY_SECONDS;
// Clocks differ: what was made just now must not count as of the future elsewhere.
constexpr int64_t CLOCK_SKEW_SECONDS = 300;
// Of a request or a certificate that came over the network.
constexpr size_t PEM_BYTES_MAX = 16 << 10;

// Signs for a cluster.
struct Authority {
  std::string keyPem;
  std::string certificatePem;
};

// What a program trusts and who it is.
struct TlsMaterial {
  std::string authorityPem;
  std::string identityPem;  // certificate and private key; empty: it has none yet
};

// From `from` until `until`, in seconds since 1970.
struct Validity {
  int64_t from = 0;
  int64_t until = 0;
};

struct CertificateInfo {
  CertifiedName name;
  Validity validity;
  std::string serial;  // hex
};

std::string makeKey();
Authority makeAuthority(ClusterId cluster, int64_t now);
// Proves to who signs that the asker has the key.
Result<std::string> makeRequest(const std::string& keyPem);
// Whatever the request says of names is ignored. EINVAL: it is no request of ours, or isn't signed by its own key.
Result<std::string> issueCertificate(const Authority& authority, const std::string& requestPem,
                                     const CertifiedName& name, Validity validity);
// Of the first certificate in `pem`.
Result<CertificateInfo> readCertificate(const std::string& pem);
Result<CertificateInfo> readCertificate(x509_st* certificate);  // as OpenSSL has it
// SHA-256 of the certificate, and of the public key that a request is about.
Result<std::string> fingerprintOf(const std::string& certificatePem);
std::string fingerprintOf(x509_st* certificate);
Result<std::string> requestKeyDigest(const std::string& requestPem);
// That a key and a certificate, which may stand in one text, belong together.
Status checkPair(const std::string& keyPem, const std::string& certificatePem);

// The validity of one made now; `after`: what has been revoked until then stays so.
Validity validityFrom(int64_t now, int64_t seconds, int64_t after = 0);
// When it should be replaced.
int64_t renewalTime(Validity validity);

}  // namespace cairn
