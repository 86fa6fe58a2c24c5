// The bootstrap capability of a chunkserver's ports: checks who comes and whom they mean to reach, then hands out what
// their role may use.
#pragma once
#include "chunkserver/replication/membership.h"
#include "chunkserver/service_gate.h"
#include "schema/chunk.capnp.h"

namespace cairn {

wire::ChunkDoor::Client newChunkDoor(ServiceGate& gate, const Membership& membership, wire::ChunkService::Client chunks,
                                     wire::PeerService::Client peer, std::string version);

}  // namespace cairn
