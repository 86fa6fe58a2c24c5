// dfsadmin cert: who may take part in the cluster.
#include <cerrno>
#include <ctime>
#include <iostream>

#include "common/system/security_files.h"
#include "fuse-client/client/wire.h"
#include "schema/security.capnp.h"
#include "tools/admin/certificate_files.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

std::string timeText(int64_t seconds) {
  auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

wire::Role roleOf(const Options& options) {
  return toWire(parseRole(options.role).value());
}

// What a verb asks with; the link keeps it alive.
struct Desk {
  kj::Own<MasterLink> link;
  wire::CertificateAdmin::Client certificates = nullptr;
};

Task<Result<Desk>> findDesk(Context& context) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return found.error();
  }
  Desk desk;
  desk.certificates = found.value()->admin.certificatesRequest().send().getCertificates();
  desk.link = kj::mv(found.value());
  co_return kj::mv(desk);
}

// With the authority's key on this host no master is needed: as before the first start, or when every certificate has
// expired.
Result<Authority> authorityHere(const ClusterFile& cluster) {
  auto key = readSecretFile(authorityKeyFile(cluster.securityDirectory));
  if (!key.ok()) {
    return key.error();
  }
  auto certificate = readCertificateFile(authorityFile(cluster.securityDirectory));
  if (!certificate.ok()) {
    return certificate.error();
  }
  return Authority{key.value(), certificate.value()};
}

Task<Status> issueThere(Context& context, const ClusterFile& cluster, OwnIdentity identity, std::string directory) {
  auto desk = co_await findDesk(context);
  if (!desk.ok()) {
    co_return desk.error();
  }
  std::string key = makeKey();
  auto request = desk.value().certificates.issueRequest();
  request.setRole(toWire(identity.role));
  request.setName(identity.name);
  request.setRequest(makeRequest(key).value());
  kj::Promise<capnp::Response<wire::CertificateAdmin::IssueResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "issue");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return outcome;
  }
  auto authority = readCertificateFile(authorityFile(cluster.securityDirectory));
  Status written =
      authority.ok() ? writeCertificateFile(authorityFile(directory), authority.value()) : Status(authority.error());
  if (written.ok()) {
    written = writeSecretFile(identityFile(directory, identity.role, identity.name),
                              std::string(reply.getCertificate().cStr()) + key);
  }
  co_return kj::mv(written);
}

void print(const Context& context, wire::CertificateAdmin::ListResults::Reader all, int64_t now) {
  std::vector<Revocation> revoked;
  Json revocations = Json::array();
  for (auto one : all.getRevoked()) {
    revoked.push_back(readRevocation(one));
    revocations.push_back(
        {{"role", roleText(revoked.back().role)}, {"name", revoked.back().name}, {"until", revoked.back().until}});
  }
  Json certificates = Json::array();
  Json tokens = Json::array();
  Table table({"ROLE", "NAME", "STATE", "EXPIRES (UTC)", "SERIAL"});
  for (auto one : all.getCertificates()) {
    CertifiedName name{fromWire(one.getRole()), one.getName().cStr(), {}};
    const char* state = isRevoked(revoked, name, one.getBegins()) ? "revoked"
                        : one.getExpires() < now                  ? "expired"
                                                                  : "good";
    certificates.push_back({{"role", roleText(name.role)},
                            {"name", name.name},
                            {"state", state},
                            {"begins", one.getBegins()},
                            {"expires", one.getExpires()},
                            {"serial", one.getSerial().cStr()}});
    table.add({roleText(name.role), name.name, state, timeText(one.getExpires()), one.getSerial().cStr()});
  }
  for (auto one : all.getTokens()) {
    const char* state = one.hasUsedBy() && one.getUsedBy().size() > 0 ? "token, used"
                        : one.getExpires() < now                      ? "token, expired"
                                                                      : "token";
    const char* role = roleText(fromWire(one.getRole()));
    tokens.push_back({{"role", role}, {"name", one.getName().cStr()}, {"state", state}, {"expires", one.getExpires()}});
    table.add({role, one.getName().cStr(), state, timeText(one.getExpires()), "-"});
  }
  for (const auto& one : revoked) {
    table.add({roleText(one.role), one.name, "void if older", timeText(one.until), "-"});
  }
  if (context.json) {
    printJson({{"certificates", certificates}, {"tokens", tokens}, {"revoked", revocations}});
  } else {
    table.print();
  }
}

}  // namespace

Status issueHere(const Authority& authority, const ClusterFile& cluster, const OwnIdentity& identity, int64_t now,
                 const std::string& directory) {
  std::string key = makeKey();
  auto request = makeRequest(key);
  auto issued = cairn::issueCertificate(authority, request.value(), {identity.role, identity.name, cluster.cluster},
                                        validityFrom(now, cluster.certificateSeconds));
  if (!issued.ok()) {
    return issued.error();
  }
  auto shown = writeCertificateFile(authorityFile(directory), authority.certificatePem);
  return shown.ok() ? writeSecretFile(identityFile(directory, identity.role, identity.name), issued.value() + key)
                    : shown;
}

Task<int> makeToken(Context& context, const Options& options) {
  uint32_t seconds = secondsOf(options.duration);
  if (seconds == 0) {
    co_return complain(EXIT_USAGE, "usage", "--valid " + options.duration + " is no time; write 90s, 30m, 2h or 1d");
  }
  auto desk = co_await findDesk(context);
  if (!desk.ok()) {
    co_return complainOf(desk.error());
  }
  auto request = desk.value().certificates.makeTokenRequest();
  request.setRole(roleOf(options));
  request.setName(options.name);
  request.setSeconds(seconds);
  kj::Promise<capnp::Response<wire::CertificateAdmin::MakeTokenResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "token");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "token-refused", "no token was made: " + outcome.error().why);
  }
  if (context.json) {
    printJson({{"token", reply.getToken().cStr()},
               {"role", options.role},
               {"name", options.name},
               {"validSeconds", seconds}});
  } else {
    std::cout << reply.getToken().cStr() << "\n";
    std::cerr << "For " << options.role << " " << options.name << ", good once and for " << durationText(seconds)
              << ": give it to its --join, or to: dfsadmin cert join\n";
  }
  co_return EXIT_HEALTHY;
}

Task<int> useToken(Context& context, const Options& options) {
  auto token = readJoinToken(options.token);
  if (!token.ok()) {
    co_return complain(EXIT_USAGE, "usage", token.error().why);
  }
  auto network = context.joiningNetwork(token.value().authority);
  auto joined = co_await join(*network, context.clock, token.value(), options.file);
  if (!joined.ok()) {
    bool silent = joined.code() == ETIMEDOUT;
    co_return complain(silent ? EXIT_UNREACHABLE : EXIT_REFUSED, silent ? "no-master" : "join-refused",
                       joined.error().why);
  }
  std::cout << "The certificate of " << toText(token.value().name) << " is in the [security] directory of "
            << options.file << "\n";
  co_return EXIT_HEALTHY;
}

Task<int> issueCertificate(Context& context, const Options& options) {
  auto cluster = readCluster(context);
  Status usable = cluster.ok() ? checkCertifiedName(options.name) : Status(cluster.error());
  if (usable.ok() && cluster.value().securityDirectory.empty()) {
    usable = Error{EINVAL, "the cluster has no certificates: its file names no [security] directory"};
  }
  if (!usable.ok()) {
    co_return complain(EXIT_REFUSED, "certificate-refused", usable.error().why);
  }
  const OwnIdentity identity{parseRole(options.role).value(), options.name};
  const std::string directory = options.to.empty() ? cluster.value().securityDirectory : options.to;
  auto authority = authorityHere(cluster.value());
  Status issued;
  if (authority.ok()) {
    issued = issueHere(authority.value(), cluster.value(), identity, context.clock.wall() / SECOND, directory);
  } else {
    auto there = co_await issueThere(context, cluster.value(), identity, directory);
    issued = there;
  }
  if (!issued.ok()) {
    co_return complainOf(issued.error());
  }
  std::cout << identityFile(directory, identity.role, identity.name) << "\n";
  co_return EXIT_HEALTHY;
}

Task<int> listCertificates(Context& context, const Options&) {
  auto desk = co_await findDesk(context);
  if (!desk.ok()) {
    co_return complainOf(desk.error());
  }
  auto request = desk.value().certificates.listRequest();
  kj::Promise<capnp::Response<wire::CertificateAdmin::ListResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "list");
  print(context, reply, context.clock.wall() / SECOND);
  co_return EXIT_HEALTHY;
}

Task<int> revokeCertificates(Context& context, const Options& options) {
  auto desk = co_await findDesk(context);
  if (!desk.ok()) {
    co_return complainOf(desk.error());
  }
  auto request = desk.value().certificates.revokeRequest();
  request.setRole(roleOf(options));
  request.setName(options.name);
  kj::Promise<capnp::Response<wire::CertificateAdmin::RevokeResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "revoke");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "revocation-refused", "nothing was revoked: " + outcome.error().why);
  }
  std::cout << "All certificates of " << options.role << " " << options.name
            << " issued so far are void, and its connections are cut off. It comes back with a token: dfsadmin cert "
               "token --role "
            << options.role << " --name " << options.name << "\n";
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
