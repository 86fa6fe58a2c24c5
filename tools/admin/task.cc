// dfsadmin task: what the cluster is busy with by itself or by order. Read off its state: a drain is a server that is
// draining, and cancelling it is resuming that server.
#include <algorithm>
#include <iostream>

#include "master/placement/targets.h"
#include "tools/admin/node_change.h"
#include "tools/admin/output.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

const std::string DRAIN = "drain-";

size_t shardsOn(const ShardMap& map, const std::string& server) {
  auto isIt = [&server](auto& item) { return item.second.name == server; };
  auto named = std::find_if(map.servers.begin(), map.servers.end(), isIt);
  return named == map.servers.end() ? 0 : shardsUsing(map, named->first);
}

Json tasksOf(const Json& status, const ShardMap& map) {
  Json tasks = Json::array();
  bool drains = false;
  for (auto& server : status["servers"]) {
    std::string name = server["name"];
    if (server["state"] == "draining") {
      drains = true;
      tasks.push_back({{"id", DRAIN + name}, {"kind", "drain"}, {"server", name}, {"shardsLeft", shardsOn(map, name)}});
    }
  }
  auto& shards = status["shards"];
  uint64_t missing = shards["degraded"].get<uint64_t>() + shards["atRisk"].get<uint64_t>();
  if (missing > 0) {
    tasks.push_back({{"id", "repair"}, {"kind", "repair"}, {"server", nullptr}, {"shardsLeft", missing}});
  }
  if (!drains && shards["misplaced"] != 0) {
    tasks.push_back(
        {{"id", "rebalance"}, {"kind", "rebalance"}, {"server", nullptr}, {"shardsLeft", shards["misplaced"]}});
  }
  for (auto& task : tasks) {
    task["repair"] = status["repair"];
  }
  return tasks;
}

void print(const Json& tasks) {
  Table table({"TASK", "KIND", "SHARDS LEFT", "TO COPY IN ALL", "SPEED"});
  for (const auto& task : tasks) {
    table.add({task["id"], task["kind"], task["shardsLeft"].dump(), sizeText(task["repair"]["bytesLeft"]),
               sizeText(task["repair"]["bytesPerSecond"]) + "/s"});
  }
  table.print();
}

}  // namespace

Task<int> showTasks(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  auto map = co_await readMap(context, found.value()->admin);
  Json chosen = Json::array();
  for (auto& task : tasksOf(status, map)) {
    if (options.name.empty() || task["id"] == options.name) {
      chosen.push_back(task);
    }
  }
  if (!options.name.empty() && chosen.empty()) {
    co_return complain(EXIT_REFUSED, "there is no task '" + options.name + "' (any more); see: dfsadmin task list");
  }
  context.json ? printJson({{"tasks", chosen}}) : print(chosen);
  co_return EXIT_HEALTHY;
}

Task<int> cancelTask(Context& context, const Options& options) {
  if (options.name.compare(0, DRAIN.size(), DRAIN) != 0) {
    co_return complain(EXIT_REFUSED,
                       "only a drain can be cancelled; repairs and rebalancing end when all is in its place");
  }
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  std::string server = options.name.substr(DRAIN.size());
  auto outcome = co_await changeServer(context, found.value()->admin, server, wire::ServerChange::RESUME, 0);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, options.name + ": " + outcome.error().why);
  }
  std::cout << server << " is in service again\n";
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
