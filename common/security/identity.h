// Who somebody is by a certificate: its role and name in a cluster, written into the certificate's common name as
// "role.name.cluster". Pure.
#pragma once
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/result.h"

namespace cairn {

enum class PeerRole : uint8_t { CLIENT, CHUNKSERVER, MASTER, ADMIN };

const char* roleText(PeerRole role);
Result<PeerRole> parseRole(const std::string& text);

struct CertifiedName {
  PeerRole role = PeerRole::CLIENT;
  std::string name;
  ClusterId cluster;
  bool operator==(const CertifiedName&) const = default;
};

// A common name has at most 64 characters, 32 of which are the cluster's id.
constexpr size_t CERTIFIED_NAME_CHARS_MAX = 19;

// Letters, digits, '-' and '_', so that nobody's name can be read as another's; the error says so.
Status checkCertifiedName(const std::string& name);

// "chunkserver c1", for messages.
std::string toText(const CertifiedName& name);
std::string commonName(const CertifiedName& name);
// Only exactly what commonName() writes.
Result<CertifiedName> parseCommonName(const std::string& text);

// All certificates of that role and name that began at `until` or before are void.
struct Revocation {
  PeerRole role = PeerRole::CLIENT;
  std::string name;
  int64_t until = 0;  // seconds since 1970
  bool operator==(const Revocation&) const = default;
};

bool isRevoked(const std::vector<Revocation>& revoked, const CertifiedName& name, int64_t begins);

}  // namespace cairn
