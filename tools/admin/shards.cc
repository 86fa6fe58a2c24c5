#include "tools/admin/shards.h"

#include <algorithm>
#include <iostream>

#include "tools/admin/master_link.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

size_t onlineOf(const ShardMap& map, const std::vector<VolumeNumber>& volumes) {
  return std::count_if(volumes.begin(), volumes.end(), [&map](VolumeNumber volume) {
    const auto* server = map.serverOf(volume);
    return server != nullptr && server->online;
  });
}

}  // namespace

std::string shardState(const ShardMap& map, const ShardRecord& shard) {
  if (shard.inSync.empty()) {
    return "unplaced";
  }
  size_t online = onlineOf(map, shard.inSync);
  auto cls = map.classes.find(shardClass(shard.id));
  size_t wanted = cls == map.classes.end() ? 1 : cls->second.copies;
  if (online == 0) {
    return "unavailable";
  }
  if (online < wanted) {
    return online == 1 ? "at-risk" : "degraded";
  }
  auto sorted = [](std::vector<VolumeNumber> volumes) {
    std::sort(volumes.begin(), volumes.end());
    return volumes;
  };
  return sorted(shard.inSync) == sorted(shard.target) ? "healthy" : "misplaced";
}

std::string memberText(const ShardMap& map, VolumeNumber volume) {
  const auto* server = map.serverOf(volume);
  if (server == nullptr) {
    return "volume " + std::to_string(raw(volume));
  }
  auto sameServer = [server](const auto& other) { return other.second.server == server->id; };
  bool several = std::count_if(map.volumes.begin(), map.volumes.end(), sameServer) > 1;
  return several ? server->name + "/" + std::to_string(raw(volume)) : server->name;
}

std::string membersText(const ShardMap& map, const std::vector<VolumeNumber>& volumes) {
  std::vector<std::string> names;
  for (auto volume : volumes) {
    names.push_back(memberText(map, volume));
  }
  return names.empty() ? "-" : joined(names, " ");
}

Json membersJson(const ShardMap& map, const std::vector<VolumeNumber>& volumes) {
  Json out = Json::array();
  for (auto volume : volumes) {
    const auto* server = map.serverOf(volume);
    out.push_back({{"volume", raw(volume)},
                   {"server", server == nullptr ? "" : server->name},
                   {"address", server == nullptr ? "" : server->address},
                   {"online", server != nullptr && server->online}});
  }
  return out;
}

Json shardJson(const ShardMap& map, const ShardRecord& shard) {
  return {{"id", raw(shard.id)},
          {"state", shardState(map, shard)},
          {"epoch", raw(shard.epoch)},
          {"primary", shard.inSync.empty() ? Json(nullptr) : Json(raw(shard.primary))},
          {"inSync", membersJson(map, shard.inSync)},
          {"joining", membersJson(map, shard.joining)},
          {"target", membersJson(map, shard.target)}};
}

Task<int> listShards(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto map = co_await readMap(context, found.value()->admin);
  Json all = Json::array();
  Table table({"SHARD", "STATE", "EPOCH", "PRIMARY", "IN SYNC", "JOINING", "TARGET"});
  for (const auto& [id, shard] : map.shards) {
    auto state = shardState(map, shard);
    if (options.onlyUnhealthy && (state == "healthy" || state == "unplaced")) {
      continue;
    }
    all.push_back(shardJson(map, shard));
    table.add({std::to_string(raw(id)), state, std::to_string(raw(shard.epoch)),
               shard.inSync.empty() ? "-" : memberText(map, shard.primary), membersText(map, shard.inSync),
               membersText(map, shard.joining), membersText(map, shard.target)});
  }
  if (context.json) {
    printJson({{"mapVersion", raw(map.version)}, {"shards", all}});
  } else {
    table.print();
  }
  co_return EXIT_HEALTHY;
}

Task<int> showShard(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto map = co_await readMap(context, found.value()->admin);
  const auto* shard = map.shard(static_cast<ShardId>(options.id));
  if (shard == nullptr) {
    co_return complain(EXIT_REFUSED, "shard-not-found", "there is no shard " + std::to_string(options.id) +
                                         " in this cluster's map; see: dfsadmin shard list");
  }
  if (context.json) {
    printJson(shardJson(map, *shard));
    co_return EXIT_HEALTHY;
  }
  std::cout << "Shard " << options.id << ": " << shardState(map, *shard) << ", epoch " << raw(shard->epoch)
            << ", class " << raw(shardClass(shard->id)) << ", position " << shardPosition(shard->id) << "\n";
  Table table({"MEMBER", "ROLE", "ADDRESS", "ONLINE"});
  auto addAll = [&](const std::vector<VolumeNumber>& volumes, const char* role) {
    for (auto volume : volumes) {
      const auto* server = map.serverOf(volume);
      bool primary = !shard->inSync.empty() && volume == shard->primary;
      table.add({memberText(map, volume), primary ? "primary" : role, server == nullptr ? "?" : server->address,
                 server != nullptr && server->online ? "yes" : "no"});
    }
  };
  addAll(shard->inSync, "in sync");
  addAll(shard->joining, "joining");
  table.print();
  std::cout << "Target: " << membersText(map, shard->target) << "\n";
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
