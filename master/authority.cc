#include "master/authority.h"

#include <cerrno>

namespace cairn {

Result<std::string> CertificateAuthority::issue(const std::string& request, const CertifiedName& name, int64_t now,
                                                const std::vector<Revocation>& revoked) const {
  if (!canSign()) {
    return Error{EAGAIN,
                 "this master hasn't got the authority's key yet: copy ca.key from another master's [security] "
                 "directory, or start one that has it"};
  }
  int64_t after = 0;
  for (const auto& one : revoked) {
    if (one.role == name.role && one.name == name.name) {
      after = one.until;
    }
  }
  return issueCertificate(authority_, request, name, validityFrom(now, seconds_, after));
}

}  // namespace cairn
