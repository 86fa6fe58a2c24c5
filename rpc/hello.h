// The greeting that every connection begins with: who speaks, of which cluster, in which version of the protocol.
#pragma once
#include <string>

#include "common/ids.h"
#include "common/result.h"
#include "rpc/shard_map.h"
#include "schema/types.capnp.h"

namespace cairn {

// `epoch`: the highest of the masters' groups that the caller knows of; chunkservers don't look at it.
inline void writeHello(wire::Hello::Builder out, ClusterId cluster, wire::Role role, const std::string& name,
                       GroupEpoch epoch = {}) {
  toWire(cluster, out.initCluster());
  out.setRole(role);
  out.setProtocol(wire::PROTOCOL);
  out.setOldest(wire::OLDEST_PROTOCOL);
  out.setName(name);
  out.setEpoch(raw(epoch));
}

// Whether the two have a protocol in common. ESTALE: they haven't. `self`: whom the caller reached.
inline Status checkProtocol(wire::Hello::Reader hello, const std::string& self) {
  const uint32_t newest = hello.getProtocol(), oldest = hello.getOldest();
  if (newest >= wire::OLDEST_PROTOCOL && oldest <= wire::PROTOCOL) {
    return {};
  }
  auto range = [](uint32_t from, uint32_t to) {
    return from == to ? std::to_string(to) : std::to_string(from) + " to " + std::to_string(to);
  };
  bool callerIsOld = newest < wire::OLDEST_PROTOCOL;
  return Error{ESTALE, self + " speaks protocol " + range(wire::OLDEST_PROTOCOL, wire::PROTOCOL) + ", the caller " +
                           range(oldest, newest) + ": install a newer version " +
                           (callerIsOld ? "of the caller" : "here")};
}

}  // namespace cairn
