// Failure domains: what fails together. Volume < server < rack < zone; a rack's name counts within its zone. Pure.
#pragma once
#include <map>
#include <string>

#include "rpc/shard_map.h"

namespace cairn {

// Equal for servers of which only one may have a copy of a shard.
using Domain = std::string;

// A server that doesn't say where it is counts as a domain of its own.
Domain domainOf(const ServerRecord& server, wire::FailureDomain level);
bool saysDomain(const ServerRecord& server, wire::FailureDomain level);
// For people: "r1", "z1/r1", "c1".
std::string domainName(const ServerRecord& server, wire::FailureDomain level);
// "server", "rack", "zone".
const char* levelName(wire::FailureDomain level);

// They are on one server, or in one domain of that level.
bool shareDomain(const ShardMap& map, VolumeNumber a, VolumeNumber b, wire::FailureDomain level);
// Domains with a server in service that has a usable volume, and their names.
std::map<Domain, std::string> usableDomains(const ShardMap& map, wire::FailureDomain level);

}  // namespace cairn
