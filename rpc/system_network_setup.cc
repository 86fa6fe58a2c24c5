#include "rpc/system_network_setup.h"

#include <cerrno>

#include "common/log.h"
#include "common/security/join_token.h"
#include "common/system/security_files.h"
#include "rpc/renewal.h"

namespace cairn {

namespace {

bool isDaemon(PeerRole role) {
  return role == PeerRole::MASTER || role == PeerRole::CHUNKSERVER;
}

std::string missing(const ClusterFile& cluster, const OwnIdentity& self) {
  std::string who = std::string(roleText(self.role)) + " " + self.name;
  return "there is no certificate of " + who + " (" + identityFile(cluster.securityDirectory, self.role, self.name) +
         "): have an admin make a token with `dfsadmin cert token --role " + roleText(self.role) + " --name " +
         self.name + "`, and give it to --join";
}

constexpr Nanos JOIN_LIMIT = 30 * SECOND;

// The cluster file at `path`, which the masters' own words make when there is none.
Result<ClusterFile> placeClusterFile(const std::string& path, const Enrolled& enrolled, ClusterId cluster) {
  auto there = readClusterFile(path);
  if (there.code() == ENOENT) {
    auto written = writeNewFile(path, enrolled.clusterFile);
    if (!written.ok()) {
      return written.error();
    }
    there = readClusterFile(path);
  }
  if (there.ok() && (there.value().cluster != cluster || there.value().securityDirectory.empty())) {
    return Error{EINVAL, path +
                             " is of another cluster, or names no [security] directory: move it away, and --join "
                             "writes the right one"};
  }
  return there;
}

Status placeFiles(const std::string& path, const Enrolled& enrolled, const JoinToken& token) {
  auto cluster = placeClusterFile(path, enrolled, token.name.cluster);
  if (!cluster.ok()) {
    return cluster.error();
  }
  const std::string& directory = cluster.value().securityDirectory;
  auto authority = writeCertificateFile(authorityFile(directory), enrolled.authorityPem);
  return authority.ok()
             ? writeSecretFile(identityFile(directory, token.name.role, token.name.name), enrolled.identityPem)
             : authority;
}

}  // namespace

Task<Status> join(Network& network, Clock& clock, JoinToken token, std::string file) {
  auto enrolled = co_await enroll(network, clock, token, JOIN_LIMIT);
  co_return enrolled.ok() ? placeFiles(file, enrolled.value(), token) : Status(enrolled.error());
}

Status joinByToken(kj::AsyncIoContext& io, Clock& clock, const std::string& text, const OwnIdentity& self,
                   const std::string& path) {
  auto cluster = readClusterFile(path);
  if (cluster.ok() && readMaterial(cluster.value(), self).ok()) {
    return {};
  }
  if (!cluster.ok() && cluster.code() != ENOENT) {
    return cluster.error();
  }
  auto token = readJoinToken(text);
  if (!token.ok()) {
    return token.error();
  }
  const CertifiedName& name = token.value().name;
  if (name.role != self.role || name.name != self.name) {
    return Error{EINVAL, "the join token is for " + toText(name) + ", and this is " + roleText(self.role) + " " +
                             self.name + ": make another token, or correct --name"};
  }
  auto network = newJoiningNetwork(io, token.value().authority);
  kj::Promise<Status> joined = join(*network, clock, token.value(), path);
  return joined.wait(io.waitScope);
}

kj::Promise<void> keepOwnCertificate(SystemNetwork& network, Clock& clock, Random& random, const ClusterFile& cluster,
                                     OwnIdentity self) {
  RenewalParts parts{network, clock, random, cluster, {self.role, self.name, cluster.cluster}};
  auto validity = [&network]() -> std::optional<Validity> {
    auto identity = network.identity();
    return identity ? std::optional(identity->validity) : std::nullopt;
  };
  auto take = [&network, &cluster, self](const std::string& pem) -> Status {
    auto authority = readCertificateFile(authorityFile(cluster.securityDirectory));
    if (!authority.ok()) {
      return authority.error();
    }
    auto used = network.renew({authority.value(), pem});
    return used.ok() ? writeSecretFile(identityFile(cluster.securityDirectory, self.role, self.name), pem) : used;
  };
  kj::Promise<void> keeping = keepCertificate(parts, kj::mv(validity), kj::mv(take));
  return keeping.eagerlyEvaluate(
      [](kj::Exception&& e) { spdlog::error("certificates aren't renewed any more: {}", kj::str(e).cStr()); });
}

Result<TlsMaterial> readMaterial(const ClusterFile& cluster, const OwnIdentity& self) {
  auto authority = readCertificateFile(authorityFile(cluster.securityDirectory));
  if (!authority.ok()) {
    return Error{authority.error().code, authority.error().why +
                                             "; the cluster's [security] directory must have the "
                                             "authority's certificate"};
  }
  std::string path = identityFile(cluster.securityDirectory, self.role, self.name);
  auto identity = readSecretFile(path);
  if (!identity.ok()) {
    return identity.code() == ENOENT ? Error{ENOKEY, missing(cluster, self)} : identity.error();
  }
  auto info = readCertificate(identity.value());
  Status usable = info.ok() ? checkPair(identity.value(), identity.value()) : Status(info.error());
  CertifiedName wanted{self.role, self.name, cluster.cluster};
  if (usable.ok() && info.value().name != wanted) {
    usable = Error{EINVAL, "it is the certificate of " + toText(info.value().name) + " of cluster " +
                               toText(info.value().name.cluster)};
  }
  if (!usable.ok()) {
    return Error{EINVAL, path + ": " + usable.error().why};
  }
  return TlsMaterial{authority.value(), identity.value()};
}

Result<TcpSecurity> tcpSecurityOf(const ClusterFile& cluster, const OwnIdentity& self, bool insecure) {
  TcpSecurity security;
  const bool hasCertificates = !cluster.securityDirectory.empty();
  if (insecure || (!hasCertificates && !isDaemon(self.role))) {
    security.mode = TcpSecurity::Mode::PLAIN;
    return security;
  }
  if (!hasCertificates) {
    return Error{EPERM,
                 "the cluster has no certificates: its file names no [security] directory. Make a cluster with "
                 "`dfsadmin cluster init`, or, for trying things out on this host alone, add --insecure"};
  }
  auto material = readMaterial(cluster, self);
  bool isMissing = material.code() == ENOKEY || material.code() == ENOENT;
  if (!material.ok() && (isDaemon(self.role) || !isMissing)) {
    return material.error();
  }
  security.strangers = self.role == PeerRole::MASTER;
  if (material.ok()) {
    security.mode = TcpSecurity::Mode::TLS;
    security.material = material.value();
  } else {
    security.why = material.error().why;
  }
  return security;
}

}  // namespace cairn
