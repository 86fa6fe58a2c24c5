// MasterDoor: the bootstrap capability of a master's ports. It lets in who speaks this protocol and belongs to this
// cluster, and hands out what clients, chunkservers and admins need.
#pragma once
#include "master/doorway.h"
#include "rpc/network.h"
#include "schema/master.capnp.h"

namespace cairn {

capnp::Capability::Client newMasterDoor(Doorway& doorway, PeerIdentity peer);

}  // namespace cairn
