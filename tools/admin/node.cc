// dfsadmin node: the cluster's servers.
#include <algorithm>
#include <iostream>

#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

struct Duties {
  uint64_t primaryOf = 0;
  uint64_t inSync = 0;
  uint64_t joining = 0;
};

Duties dutiesOf(const ShardMap& map, const std::string& server) {
  auto here = [&](VolumeNumber volume) {
    const auto* record = map.serverOf(volume);
    return record != nullptr && record->name == server;
  };
  Duties duties;
  for (const auto& [id, shard] : map.shards) {
    duties.primaryOf += !shard.inSync.empty() && here(shard.primary);
    duties.inSync += std::count_if(shard.inSync.begin(), shard.inSync.end(), here);
    duties.joining += std::count_if(shard.joining.begin(), shard.joining.end(), here);
  }
  return duties;
}

Json nodeJson(const Json& server, const ShardMap& map) {
  Json out = server;
  auto duties = dutiesOf(map, server["name"].get<std::string>());
  out["primaryOf"] = duties.primaryOf;
  out["inSync"] = duties.inSync;
  out["joining"] = duties.joining;
  return out;
}

// "z1/r1"; "-" when it doesn't say.
std::string placeText(const Json& node) {
  std::string zone = node["zone"], rack = node["rack"];
  std::string place = zone.empty() ? rack : rack.empty() ? zone + "/-" : zone + "/" + rack;
  return place.empty() ? "-" : place;
}

std::string onlineText(const Json& node) { return node["online"].get<bool>() ? "yes" : "no"; }

void printList(const Json& nodes) {
  Table table({"SERVER", "ADDRESS", "RACK", "STATE", "ONLINE", "VOLUMES", "PRIMARY OF", "IN SYNC", "JOINING"});
  for (const auto& n : nodes) {
    table.add({n["name"], n["address"], placeText(n), n["state"], onlineText(n),
               std::to_string(n["volumes"].size()), n["primaryOf"].dump(), n["inSync"].dump(), n["joining"].dump()});
  }
  table.print();
}

void printNode(const Json& n) {
  std::cout << n["name"].get<std::string>() << " at " << n["address"].get<std::string>() << ": "
            << n["state"].get<std::string>() << ", " << (n["online"].get<bool>() ? "online" : "offline")
            << ", rack " << placeText(n) << "\n"
            << "Shards: primary of " << n["primaryOf"] << ", in sync in " << n["inSync"] << ", joining in "
            << n["joining"] << "\n";
  Table table({"VOLUME", "ID", "STATE", "USED", "TOTAL", "BAD BLOCKS", "ADOPTED BLOCKS"});
  for (const auto& v : n["volumes"]) {
    table.add({v["number"].dump(), v["id"], v["state"], sizeText(v["usedBytes"]), sizeText(v["totalBytes"]),
               v["badBlocks"].dump(), v["adoptedBlocks"].dump()});
  }
  table.print();
}

}  // namespace

Task<int> showNodes(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  auto map = co_await readMap(context, found.value()->admin);
  Json nodes = Json::array();
  std::vector<std::string> names;
  for (const auto& server : status["servers"]) {
    names.push_back(server["name"]);
    if (options.name.empty() || server["name"] == options.name) {
      nodes.push_back(nodeJson(server, map));
    }
  }
  if (options.name.empty()) {
    context.json ? printJson({{"nodes", nodes}}) : printList(nodes);
  } else if (nodes.empty()) {
    std::string known = names.empty() ? "none has registered yet" : "there are: " + joined(names, " ");
    co_return complain(EXIT_REFUSED, "node-not-found", "there is no server '" + options.name + "'; " + known);
  } else {
    context.json ? printJson(nodes[0]) : printNode(nodes[0]);
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
