// Whether somebody may say of itself what its Hello says.
#pragma once
#include "common/result.h"
#include "rpc/network.h"
#include "schema/types.capnp.h"

namespace cairn {

// By its certificate: the role, and a daemon's name too. Whoever the network vouches for without one is believed.
// ESTALE, which callers take for final.
Status checkClaim(const PeerIdentity& peer, wire::Hello::Reader hello);

}  // namespace cairn
