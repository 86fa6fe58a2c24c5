#include "rpc/claims.h"

#include <cerrno>

#include "rpc/shard_map.h"

namespace cairn {

Status checkClaim(const PeerIdentity& peer, wire::Hello::Reader hello) {
  if (peer.trust == PeerIdentity::Trust::OPEN) {
    return {};
  }
  if (peer.trust == PeerIdentity::Trust::STRANGER) {
    return Error{ESTALE, "it has shown no certificate"};
  }
  PeerRole claimed = fromWire(hello.getRole());
  std::string name = hello.getName().cStr();
  bool named = claimed == PeerRole::MASTER || claimed == PeerRole::CHUNKSERVER;
  if (claimed != peer.name.role || (named && name != peer.name.name)) {
    return Error{ESTALE, "its certificate is that of " + toText(peer.name) + ", and it says that it is " +
                             roleText(claimed) + " " + name + ": use the certificate made for it"};
  }
  return {};
}

}  // namespace cairn
