// The production side of the Network seam: Unix sockets and TCP of the operating system, the latter with mutual TLS.
#pragma once
#include <kj/async-io.h>

#include <string>

#include "rpc/network.h"
#include "rpc/system_network_tls.h"

namespace cairn {

// How TCP is used. Unix sockets are plain: the operating system says whose process is at the other end, and only root
// and the owner of this process are let in.
struct TcpSecurity {
  // PLAIN: without TLS, on loopback addresses alone. TLS: with `material`. NONE: not at all, `why` says why not.
  // PUBLIC: without TLS on any address, for what everybody may read.
  enum class Mode { NONE, PLAIN, TLS, PUBLIC } mode = Mode::NONE;
  TlsMaterial material;
  std::string pin;         // as TlsContext::make()
  bool strangers = false;  // who shows no certificate is let in, as such
  std::string why;
};

class SystemNetwork : public Network {
 public:
  // For new connections; those that there are go on. Of a network that was made with TLS.
  virtual Status renew(const TlsMaterial& material) = 0;
  // Of this process's own certificate, if it has one.
  virtual std::optional<CertificateInfo> identity() const = 0;
};

// `io` must outlive the result. The error says what is wrong with the material.
Result<kj::Own<SystemNetwork>> newSystemNetwork(kj::AsyncIoContext& io, TcpSecurity security);
// For a process that has no certificate yet: TLS to whoever has one by the authority of that fingerprint.
kj::Own<SystemNetwork> newJoiningNetwork(kj::AsyncIoContext& io, const std::string& authorityFingerprint);
kj::Own<SystemNetwork> newPlainNetwork(kj::AsyncIoContext& io);
kj::Own<SystemNetwork> newPublicNetwork(kj::AsyncIoContext& io);

}  // namespace cairn
