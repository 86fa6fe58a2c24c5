// Peers: one ordered link to each other chunkserver, dialled when first wanted and again whenever it breaks. The Unix
// socket is tried first when the peer is on this host.
#pragma once
#include <map>
#include <vector>

#include "chunkserver/replication/membership.h"
#include "common/random.h"
#include "common/task.h"
#include "rpc/connection.h"
#include "rpc/network.h"
#include "schema/chunk.capnp.h"

namespace cairn {

class Peers {
 public:
  static constexpr Nanos DIAL_LIMIT = SECOND;
  static constexpr Nanos ENTER_LIMIT = 2 * SECOND;
  // A link isn't made anew before it is this old.
  static constexpr Nanos RELINK_MIN = 2 * SECOND;

  Peers(Network& network, Clock& clock, Random& random, Membership& membership);
  ~Peers() noexcept(false);
  KJ_DISALLOW_COPY(Peers);

  // How this server reaches itself, should it hold two members of a shard.
  void setSelf(wire::PeerService::Client self) { self_ = kj::mv(self); }

  // Takes new addresses from the map; a peer that runs anew is dialled anew.
  void mapChanged();

  // The peer's service if the link stands now. Starts dialling otherwise.
  kj::Maybe<wire::PeerService::Client> now(ServerId server);
  // Waits for the link, as long as it takes. Rejects with DISCONNECTED when the server isn't in the map.
  kj::Promise<wire::PeerService::Client> connected(ServerId server);
  // The peer doesn't answer: hang up and dial again. Calls under way reject with DISCONNECTED.
  void reset(ServerId server);

 private:
  class Peer;
  Peer* find(ServerId server);

  Network& network_;
  Clock& clock_;
  Random& random_;
  Membership& membership_;
  kj::Maybe<wire::PeerService::Client> self_;
  std::map<ServerId, kj::Own<Peer>> peers_;
};

}  // namespace cairn
