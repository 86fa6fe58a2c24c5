// The greeting that every connection begins with: who speaks, of which cluster, in which version of the protocol.
#pragma once
#include <string>

#include "common/ids.h"
#include "rpc/shard_map.h"
#include "schema/types.capnp.h"

namespace cairn {

// `epoch`: the highest of the masters' groups that the caller knows of; chunkservers don't look at it.
inline void writeHello(wire::Hello::Builder out, ClusterId cluster, wire::Role role, const std::string& name,
                       GroupEpoch epoch = {}) {
  toWire(cluster, out.initCluster());
  out.setRole(role);
  out.setProtocol(wire::PROTOCOL);
  out.setName(name);
  out.setEpoch(raw(epoch));
}

}  // namespace cairn
