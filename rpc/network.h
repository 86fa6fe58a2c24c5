// Network: the seam to sockets. Connects and listens on Unix sockets and TCP.
// Production: rpc/system_network.cc. Simulation: tests/sim/world/sim_network.h (delay, loss, partition).
// Mutual TLS wraps the streams inside connect() and accept(): callers see only the peer's identity.
#pragma once
#include <kj/async-io.h>

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/security/identity.h"

namespace cairn {

// "unix:/path" or "host:port".
using Address = std::string;

// Who is at the other end, as far as the transport can tell.
struct PeerIdentity {
  enum class Kind { LOCAL_PROCESS, TCP } kind = Kind::TCP;
  // OPEN: it is who it says it is; a process of this host's that the operating system let in, or a network without
  // certificates. CERTIFIED: `name` is proven. STRANGER: it has shown no certificate, and may only ask for one.
  enum class Trust { OPEN, CERTIFIED, STRANGER } trust = Trust::OPEN;
  CertifiedName name;  // CERTIFIED
  uint32_t uid = 0;    // of a LOCAL_PROCESS
  std::string text;    // for messages: "pid 1234" or "10.0.0.1:5000"
};

// What a caller wants to find at an address. A TLS network hangs up on anybody else.
using ExpectedPeer = std::optional<PeerRole>;

struct Accepted {
  kj::Own<kj::AsyncIoStream> stream;
  PeerIdentity peer;
};

class Listener {
 public:
  virtual ~Listener() noexcept(false) = default;
  virtual kj::Promise<Accepted> accept() = 0;
  // The address in use; for "host:0" it has the port that the system chose.
  virtual Address address() const = 0;
};

class Network {
 public:
  virtual ~Network() noexcept(false) = default;
  // Rejects with DISCONNECTED when nobody answers. Callers set the deadline.
  virtual kj::Promise<kj::Own<kj::AsyncIoStream>> connect(const Address& address, ExpectedPeer expected) = 0;
  // The error names the address and, for a port in use, says what to do.
  virtual Result<kj::Own<Listener>> listen(const Address& address) = 0;
  // From now on these find nobody here, and who is connected by such a certificate is cut off.
  virtual void setRevoked(const std::vector<Revocation>&) {}
};

}  // namespace cairn
