#include "master/certificate_service.h"

#include <cerrno>

#include "common/log.h"
#include "common/security/join_token.h"
#include "common/security/secrets.h"
#include "master/propose.h"

namespace cairn {
namespace {

constexpr uint32_t TOKEN_SECONDS_MAX = 7 * 24 * 3600;

int64_t wallSeconds(Core& core) {
  return core.clock.wall() / SECOND;
}

void write(const CertificateInfo& info, wire::CertificateRecord::Builder out) {
  out.setRole(toWire(info.name.role));
  out.setName(info.name.name);
  out.setSerial(info.serial);
  out.setBegins(info.validity.from);
  out.setExpires(info.validity.until);
}

Error noAuthority() {
  return {ENOTSUP, "this cluster has no certificates: it was made without a [security] directory"};
}

Result<std::string> sign(Core& core, const CertifiedName& name, const std::string& request) {
  if (core.authority == nullptr) {
    return noAuthority();
  }
  return core.authority->issue(request, name, wallSeconds(core), core.replica.reader().map().revoked);
}

// Signed, and known to the state before anybody has it.
template <typename Fill>
Task<Result<std::string>> issueAs(Core& core, CertifiedName name, std::string request, Fill fill) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    co_return barrier.error();
  }
  auto certificate = sign(core, name, request);
  if (!certificate.ok()) {
    co_return certificate.error();
  }
  auto info = readCertificate(certificate.value());
  auto command = [&](wire::Command::Builder out) { fill(out.initSecurity(), info.value()); };
  auto applied = co_await propose(core.replica, command);
  auto kept = outcomeOf(applied);
  if (!kept.ok()) {
    co_return kept.error();
  }
  spdlog::info("{} has got certificate {}", toText(name), info.value().serial);
  co_return kj::mv(certificate);
}

void fillIssued(wire::SecurityChange::Builder change, const CertificateInfo& info) {
  write(info, change.initIssued());
}

struct FillRedeemed {
  std::string digest;
  std::string key;
  void operator()(wire::SecurityChange::Builder change, const CertificateInfo& info) const {
    auto redeem = change.initRedeem();
    redeem.setDigest(kj::StringPtr(digest.c_str(), digest.size()).asBytes());
    redeem.setKey(kj::StringPtr(key.c_str(), key.size()).asBytes());
    write(info, redeem.initCertificate());
  }
};

class EnrollmentService final : public wire::Enrollment::Server {
 public:
  EnrollmentService(Doorway& doorway, PeerIdentity peer) : doorway_(kj::addRef(doorway)), peer_(std::move(peer)) {}

  kj::Promise<void> redeem(RedeemContext context) override {
    if (doorway_->office() == nullptr || !doorway_->replica().isLeader()) {
      setOutcome(Error{EAGAIN, "this master doesn't lead"}, context.getResults().initOutcome());
      return kj::READY_NOW;
    }
    return doorway_->office()->run([&](Core& core) { return redeem(core, context); });
  }

 private:
  Task<void> redeem(Core& core, RedeemContext context);

  kj::Own<Doorway> doorway_;
  const PeerIdentity peer_;
};

Task<void> EnrollmentService::redeem(Core& core, RedeemContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  auto secret = params.getSecret().asChars();
  FillRedeemed fill;
  fill.digest = sha256({secret.begin(), secret.size()});
  auto token = core.replica.reader().joinSecret(fill.digest);
  auto key = requestKeyDigest(params.getRequest().cStr());
  Result<std::string> certificate = Error{EACCES, "no such join token: it has expired, or is of another cluster"};
  if (token && key.ok() && core.authority != nullptr) {
    fill.key = key.value();
    CertifiedName name = core.authority->named(token->role, token->name);
    std::string request = params.getRequest().cStr();
    certificate = co_await issueAs(core, kj::mv(name), kj::mv(request), kj::mv(fill));
  } else if (token && !key.ok()) {
    certificate = key.error();
  }
  setOutcome(certificate.ok() ? Status() : Status(certificate.error()), results.initOutcome());
  if (!certificate.ok()) {
    spdlog::warn("{} is refused a certificate: {}", peer_.text, certificate.error().why);
    co_return;
  }
  results.setCertificate(certificate.value());
  results.setAuthority(core.authority->certificatePem());
  results.setClusterFile(core.authority->clusterFile());
}

class CertificateAdminService final : public wire::CertificateAdmin::Server {
 public:
  explicit CertificateAdminService(Lifeline& lifeline) : lifeline_(kj::addRef(lifeline)) {}

  kj::Promise<void> makeToken(MakeTokenContext context) override {
    return lifeline_->run([&](Core& core) { return makeToken(core, context); });
  }
  kj::Promise<void> issue(IssueContext context) override {
    return lifeline_->run([&](Core& core) { return issue(core, context); });
  }
  kj::Promise<void> revoke(RevokeContext context) override {
    return lifeline_->run([&](Core& core) { return revoke(core, context); });
  }
  kj::Promise<void> list(ListContext context) override {
    return lifeline_->run([&](Core& core) { return list(core, context); });
  }

 private:
  static Task<void> makeToken(Core& core, MakeTokenContext context);
  static Task<void> issue(Core& core, IssueContext context);
  static Task<void> revoke(Core& core, RevokeContext context);
  static Task<void> list(Core& core, ListContext context);

  kj::Own<Lifeline> lifeline_;
};

Status checkToken(Core& core, const std::string& name, uint32_t seconds) {
  if (core.authority == nullptr) {
    return noAuthority();
  }
  if (seconds == 0 || seconds > TOKEN_SECONDS_MAX) {
    return Error{EINVAL, "a token is good for a second at least and for seven days at most"};
  }
  return checkCertifiedName(name);
}

Task<void> CertificateAdminService::makeToken(Core& core, MakeTokenContext context) {
  auto params = context.getParams();
  auto results = context.getResults();
  std::string name = params.getName().cStr();
  auto usable = checkToken(core, name, params.getSeconds());
  if (!usable.ok()) {
    setOutcome(usable, results.initOutcome());
    co_return;
  }
  JoinToken token;
  token.name = core.authority->named(fromWire(params.getRole()), name);
  token.authority = fingerprintOf(core.authority->certificatePem()).value();
  token.secret = secretBytes(JOIN_SECRET_BYTES);
  for (const auto& master : core.cluster.masters) {
    token.masters.push_back(master.address);
  }
  auto fill = [&](wire::Command::Builder command) {
    auto record = command.initSecurity().initAddToken();
    std::string digest = sha256(token.secret);
    record.setDigest(kj::StringPtr(digest.c_str(), digest.size()).asBytes());
    record.setRole(params.getRole());
    record.setName(name);
    record.setExpires(wallSeconds(core) + params.getSeconds());
  };
  auto applied = co_await propose(core.replica, fill);
  auto added = outcomeOf(applied);
  setOutcome(added, results.initOutcome());
  if (added.ok()) {
    results.setToken(writeJoinToken(token));
  }
}

Task<void> CertificateAdminService::issue(Core& core, IssueContext context) {
  auto params = context.getParams();
  CertifiedName name{fromWire(params.getRole()), params.getName().cStr(), core.replica.reader().cluster()};
  std::string request = params.getRequest().cStr();
  auto certificate = co_await issueAs(core, kj::mv(name), kj::mv(request), fillIssued);
  setOutcome(certificate.ok() ? Status() : Status(certificate.error()), context.getResults().initOutcome());
  if (certificate.ok()) {
    context.getResults().setCertificate(certificate.value());
  }
}

Task<void> CertificateAdminService::revoke(Core& core, RevokeContext context) {
  auto params = context.getParams();
  Revocation revocation{fromWire(params.getRole()), params.getName().cStr(), wallSeconds(core)};
  auto named = checkCertifiedName(revocation.name);
  if (!named.ok()) {
    setOutcome(named, context.getResults().initOutcome());
    co_return;
  }
  auto fill = [&](wire::Command::Builder command) { writeRevocation(revocation, command.initSecurity().initRevoke()); };
  auto applied = co_await propose(core.replica, fill);
  setOutcome(outcomeOf(applied), context.getResults().initOutcome());
}

Task<void> CertificateAdminService::list(Core& core, ListContext context) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  auto& reader = core.replica.reader();
  auto results = context.getResults();
  auto certificates = reader.certificates();
  auto list = results.initCertificates(certificates.size());
  for (uint32_t i = 0; i < certificates.size(); ++i) {
    const auto& one = certificates[i];
    write({{one.role, one.name, {}}, {one.begins, one.expires}, one.serial}, list[i]);
  }
  const auto& revoked = reader.map().revoked;
  auto voids = results.initRevoked(revoked.size());
  for (uint32_t i = 0; i < revoked.size(); ++i) {
    writeRevocation(revoked[i], voids[i]);
  }
  auto secrets = reader.joinSecrets();
  auto tokens = results.initTokens(secrets.size());
  for (uint32_t i = 0; i < secrets.size(); ++i) {
    tokens[i].setRole(toWire(secrets[i].role));
    tokens[i].setName(secrets[i].name);
    tokens[i].setExpires(secrets[i].expires);
    tokens[i].setUsedBy(kj::StringPtr(secrets[i].usedBy.c_str(), secrets[i].usedBy.size()).asBytes());
  }
}

}  // namespace

Task<Result<std::string>> renewCertificate(Core& core, CertifiedName name, std::string request) {
  return issueAs(core, kj::mv(name), kj::mv(request), fillIssued);
}

wire::Enrollment::Client newEnrollment(Doorway& doorway, PeerIdentity peer) {
  return kj::heap<EnrollmentService>(doorway, std::move(peer));
}

wire::CertificateAdmin::Client newCertificateAdmin(Lifeline& lifeline) {
  return kj::heap<CertificateAdminService>(lifeline);
}

}  // namespace cairn
