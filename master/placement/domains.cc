#include "master/placement/domains.h"

namespace cairn {

bool saysDomain(const ServerRecord& server, wire::FailureDomain level) {
  switch (level) {
    case wire::FailureDomain::SERVER:
      return true;
    case wire::FailureDomain::RACK:
      return !server.rack.empty();
    case wire::FailureDomain::ZONE:
      return !server.zone.empty();
  }
  return false;
}

Domain domainOf(const ServerRecord& server, wire::FailureDomain level) {
  if (level == wire::FailureDomain::SERVER || !saysDomain(server, level)) {
    return "server " + toText(server.id);
  }
  return level == wire::FailureDomain::RACK ? "rack " + server.zone + "/" + server.rack : "zone " + server.zone;
}

std::string domainName(const ServerRecord& server, wire::FailureDomain level) {
  if (level == wire::FailureDomain::SERVER || !saysDomain(server, level)) {
    return server.name;
  }
  if (level == wire::FailureDomain::ZONE) {
    return server.zone;
  }
  return server.zone.empty() ? server.rack : server.zone + "/" + server.rack;
}

const char* levelName(wire::FailureDomain level) {
  switch (level) {
    case wire::FailureDomain::SERVER:
      return "server";
    case wire::FailureDomain::RACK:
      return "rack";
    case wire::FailureDomain::ZONE:
      return "zone";
  }
  return "unknown";
}

bool shareDomain(const ShardMap& map, VolumeNumber a, VolumeNumber b, wire::FailureDomain level) {
  const ServerRecord* one = map.serverOf(a);
  const ServerRecord* other = map.serverOf(b);
  return one != nullptr && other != nullptr && (one == other || domainOf(*one, level) == domainOf(*other, level));
}

std::map<Domain, std::string> usableDomains(const ShardMap& map, wire::FailureDomain level) {
  std::map<Domain, std::string> out;
  for (auto& [number, volume] : map.volumes) {
    const ServerRecord* server = map.serverOf(number);
    bool usable = volume.usable && server != nullptr && server->online &&
                  server->state == wire::ServerState::IN_SERVICE;
    if (usable) {
      out[domainOf(*server, level)] = domainName(*server, level);
    }
  }
  return out;
}

}  // namespace cairn
