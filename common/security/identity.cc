#include "common/security/identity.h"

#include <algorithm>
#include <cerrno>

namespace cairn {

namespace {

constexpr PeerRole ROLES[] = {PeerRole::CLIENT, PeerRole::CHUNKSERVER, PeerRole::MASTER, PeerRole::ADMIN};

bool isNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

const char* roleText(PeerRole role) {
  switch (role) {
    case PeerRole::CLIENT:
      return "client";
    case PeerRole::CHUNKSERVER:
      return "chunkserver";
    case PeerRole::MASTER:
      return "master";
    case PeerRole::ADMIN:
      return "admin";
  }
  return "unknown";
}

Result<PeerRole> parseRole(const std::string& text) {
  for (PeerRole role : ROLES) {
    if (text == roleText(role)) {
      return role;
    }
  }
  return Error{EINVAL, "'" + text + "' is no role; there are master, chunkserver, client and admin"};
}

Status checkCertifiedName(const std::string& name) {
  if (name.empty() || name.size() > CERTIFIED_NAME_CHARS_MAX ||
      !std::all_of(name.begin(), name.end(), isNameCharacter)) {
    return Error{EINVAL, "'" + name + "' can't stand in a certificate; a name has 1 to " +
                             std::to_string(CERTIFIED_NAME_CHARS_MAX) + " letters, digits, '-' and '_'"};
  }
  return {};
}

std::string toText(const CertifiedName& name) {
  return std::string(roleText(name.role)) + " " + name.name;
}

std::string commonName(const CertifiedName& name) {
  return std::string(roleText(name.role)) + "." + name.name + "." + toText(name.cluster);
}

Result<CertifiedName> parseCommonName(const std::string& text) {
  const Error wrong{EINVAL, "the certificate's common name isn't \"role.name.cluster\""};
  size_t first = text.find('.');
  size_t last = text.rfind('.');
  if (first == std::string::npos || last == first) {
    return wrong;
  }
  auto role = parseRole(text.substr(0, first));
  CertifiedName name;
  name.name = text.substr(first + 1, last - first - 1);
  if (!role.ok() || !checkCertifiedName(name.name).ok() || !parse(text.substr(last + 1), name.cluster)) {
    return wrong;
  }
  name.role = role.value();
  return commonName(name) == text ? Result<CertifiedName>(name) : wrong;
}

bool isRevoked(const std::vector<Revocation>& revoked, const CertifiedName& name, int64_t begins) {
  return std::any_of(revoked.begin(), revoked.end(), [&](const Revocation& one) {
    return one.role == name.role && one.name == name.name && begins <= one.until;
  });
}

}  // namespace cairn
