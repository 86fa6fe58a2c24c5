// The TLS side of a network: connections that are being let in, those that are, and whose certificates are void.
#pragma once
#include <kj/timer.h>

#include <list>

#include "rpc/network.h"
#include "rpc/system_network_tls.h"

namespace cairn {

// Connections whose other end has shown a certificate. Kept by each of them, so it may outlive its network.
class TlsPeers final : public kj::Refcounted {
 public:
  // What everybody is judged by from now on; who doesn't pass any more is cut off.
  void setRevoked(const std::vector<Revocation>& revoked);
  const std::vector<Revocation>& revoked() const { return revoked_; }
  // The stream, known here for as long as it lives. REQUIRES: it has a peer.
  kj::Own<kj::AsyncIoStream> keep(kj::Own<TlsStream> stream);

  size_t strangers = 0;  // connections of those who have shown none

 private:
  struct Entry {
    kj::Own<TlsPeers> peers;
    std::list<TlsStream*>::iterator at;
    ~Entry() { peers->streams_.erase(at); }
  };
  std::vector<Revocation> revoked_;
  std::list<TlsStream*> streams_;
};

// Before they have proven who they are connections have little time and room, and there are few of them: beyond that
// the oldest goes.
constexpr kj::Duration HANDSHAKE_LIMIT = 5 * kj::SECONDS;
constexpr size_t HANDSHAKES_MAX = 512;
constexpr kj::Duration STRANGER_LIMIT = 5 * kj::SECONDS;
constexpr size_t STRANGERS_MAX = 16;

// What new connections are made with; it changes when the certificate is renewed.
using TlsSource = kj::Function<kj::Own<TlsContext>()>;
kj::Own<Listener> newTlsListener(kj::Own<Listener> listener, kj::Timer& timer, kj::Own<TlsPeers> peers,
                                 TlsSource context, bool strangers);

}  // namespace cairn
