// Who has been given a certificate, which join tokens are good, and whose certificates are void.
#include <algorithm>
#include <cerrno>

#include "common/security/certificates.h"
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {

constexpr size_t JOIN_SECRETS_MAX = 1000;
constexpr size_t REVOCATIONS_MAX = 1000;

IssuedCertificate readCertificate(wire::CertificateRecord::Reader in) {
  return {fromWire(in.getRole()), in.getName().cStr(), in.getSerial().cStr(), in.getBegins(), in.getExpires()};
}

template <typename Record>
std::vector<Record> all(const Store& store, std::string_view prefix) {
  std::vector<Record> found;
  for (auto at = store.scan(prefix); at.valid(); at.next()) {
    decode(at.value(), found.emplace_back());
  }
  return found;
}

// What can't matter any more goes with whatever is changed next.
void forgetExpired(Execution& execution) {
  const int64_t now = execution.now().seconds;
  for (auto& one : all<IssuedCertificate>(execution.store, keys::CERTIFICATES)) {
    if (one.expires < now) {
      execution.store.erase(keys::certificate(one.serial));
    }
  }
  for (auto& one : all<JoinSecret>(execution.store, keys::JOIN_SECRETS)) {
    if (one.expires < now) {
      execution.store.erase(keys::joinSecret(one.digest));
    }
  }
  // Whatever it was about has expired by now, everywhere.
  auto isOver = [now](const Revocation& one) { return one.until + CERTIFICATE_SECONDS_MAX < now; };
  for (auto& one : execution.map.revoked) {
    if (isOver(one)) {
      execution.store.erase(keys::revocation(static_cast<uint8_t>(one.role), one.name));
    }
  }
  if (std::erase_if(execution.map.revoked, isOver) > 0) {
    raiseMap(execution);
  }
}

Status keepCertificate(Execution& execution, const IssuedCertificate& certificate) {
  CertifiedName name{certificate.role, certificate.name, execution.head.cluster};
  if (isRevoked(execution.map.revoked, name, certificate.begins)) {
    return Error{EAGAIN, "the certificates of " + toText(name) + " were revoked meanwhile"};
  }
  execution.store.put(keys::certificate(certificate.serial), encode(certificate));
  return {};
}

Status addToken(Execution& execution, wire::TokenRecord::Reader in) {
  JoinSecret secret{
      std::string(viewOf(in.getDigest())), fromWire(in.getRole()), in.getName().cStr(), in.getExpires(), {}};
  if (all<JoinSecret>(execution.store, keys::JOIN_SECRETS).size() >= JOIN_SECRETS_MAX) {
    return Error{ENOSPC, "there are too many join tokens; wait until some have expired"};
  }
  execution.store.put(keys::joinSecret(secret.digest), encode(secret));
  return {};
}

Status redeem(Execution& execution, wire::SecurityChange::Redeem::Reader in) {
  JoinSecret secret;
  std::string value;
  std::string key(viewOf(in.getKey()));
  if (!execution.store.get(keys::joinSecret(viewOf(in.getDigest())), value)) {
    return Error{EACCES, "no such join token: it has expired, or is of another cluster"};
  }
  decode(value, secret);
  if (secret.expires < execution.now().seconds || (!secret.usedBy.empty() && secret.usedBy != key)) {
    return Error{EACCES, "the join token has expired, or has been used: each is good once"};
  }
  auto kept = keepCertificate(execution, readCertificate(in.getCertificate()));
  if (kept.ok()) {
    secret.usedBy = key;
    execution.store.put(keys::joinSecret(secret.digest), encode(secret));
  }
  return kept;
}

Status revoke(Execution& execution, const Revocation& wanted) {
  auto& revoked = execution.map.revoked;
  auto isIt = [&](const Revocation& one) { return one.role == wanted.role && one.name == wanted.name; };
  auto known = std::find_if(revoked.begin(), revoked.end(), isIt);
  if (known == revoked.end() && revoked.size() >= REVOCATIONS_MAX) {
    return Error{ENOSPC, "there are too many revocations"};
  }
  for (auto& one : all<JoinSecret>(execution.store, keys::JOIN_SECRETS)) {
    if (one.role == wanted.role && one.name == wanted.name) {
      execution.store.erase(keys::joinSecret(one.digest));
    }
  }
  if (known == revoked.end()) {
    known = revoked.insert(revoked.end(), wanted);
  }
  known->until = std::max(known->until, wanted.until);
  // In the order in which a restart finds them.
  execution.store.put(keys::revocation(static_cast<uint8_t>(wanted.role), wanted.name), encode(*known));
  std::sort(revoked.begin(), revoked.end(), [](const Revocation& a, const Revocation& b) {
    return a.role != b.role ? a.role < b.role : a.name < b.name;
  });
  raiseMap(execution);
  return {};
}

}  // namespace

Status changeSecurity(Execution& execution, wire::SecurityChange::Reader command) {
  forgetExpired(execution);
  switch (command.which()) {
    case wire::SecurityChange::NONE:
      return {};
    case wire::SecurityChange::ISSUED:
      return keepCertificate(execution, readCertificate(command.getIssued()));
    case wire::SecurityChange::ADD_TOKEN:
      return addToken(execution, command.getAddToken());
    case wire::SecurityChange::REDEEM:
      return redeem(execution, command.getRedeem());
    case wire::SecurityChange::REVOKE:
      return revoke(execution, readRevocation(command.getRevoke()));
  }
  KJ_FAIL_REQUIRE("a change of certificates that this master doesn't know", raw(execution.head.index));
}

std::vector<IssuedCertificate> NamespaceReader::certificates() const {
  return all<IssuedCertificate>(store_, keys::CERTIFICATES);
}

std::vector<JoinSecret> NamespaceReader::joinSecrets() const {
  return all<JoinSecret>(store_, keys::JOIN_SECRETS);
}

std::optional<JoinSecret> NamespaceReader::joinSecret(std::string_view digest) const {
  std::string value;
  if (!store_.get(keys::joinSecret(digest), value)) {
    return std::nullopt;
  }
  JoinSecret secret;
  decode(value, secret);
  return secret;
}

}  // namespace cairn
