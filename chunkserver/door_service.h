// The bootstrap capability of a chunkserver's ports: checks who comes and whom they mean to reach, then hands out what
// their role may use.
#pragma once
#include "chunkserver/replication/membership.h"
#include "chunkserver/service_gate.h"
#include "rpc/network.h"
#include "schema/chunk.capnp.h"

namespace cairn {

wire::ChunkDoor::Client newChunkDoor(ServiceGate& gate, const Membership& membership, wire::ChunkService::Client chunks,
                                     wire::PeerService::Client peer, PeerIdentity identity, std::string version);

}  // namespace cairn
