// dfsadmin task: what the cluster is busy with by itself or by order. Read off its state: a drain is a server that is
// draining, and cancelling it is resuming that server. Copying files into another class is a task of its own.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "master/placement/classes.h"
#include "master/placement/targets.h"
#include "tools/admin/master_link.h"
#include "tools/admin/node_change.h"
#include "tools/admin/output.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

const std::string DRAIN = "drain-";
const std::string REPLICAS = "replicas-";

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

Task<void> addCopies(Context& context, wire::Admin::Client admin, Json& tasks) {
  kj::Promise<capnp::Response<wire::Admin::CopyTasksResults>> sent = admin.copyTasksRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "the tasks");
  for (auto task : reply.getTasks()) {
    auto path = task.getPath();
    ClassWish wish{task.getCopies(), task.getLevel()};
    tasks.push_back({{"id", REPLICAS + std::to_string(task.getId())},
                     {"kind", "replicas"},
                     {"path", std::string(path.asChars().begin(), path.size())},
                     {"copies", task.getCopies()},
                     {"level", levelName(task.getLevel())},
                     {"replicas", describe(wish)},
                     {"filesDone", task.getFilesDone()},
                     {"bytesDone", task.getBytesDone()},
                     {"filesWaiting", task.getFilesWaiting()},
                     {"why", task.getWhy().cStr()}});
  }
}

void printCopies(const Json& tasks) {
  for (const auto& task : tasks) {
    if (task["kind"] != "replicas") {
      continue;
    }
    std::cout << task["id"].get<std::string>() << ": " << task["path"].get<std::string>() << ": "
              << task["replicas"].get<std::string>()
              << ": " << task["filesDone"] << " files copied (" << sizeText(task["bytesDone"]) << ")";
    if (task["filesWaiting"] != 0) {
      std::cout << ", " << task["filesWaiting"] << " passed over for now";
    }
    std::string why = task["why"];
    std::cout << (why.empty() ? "" : "; " + why) << "\n";
  }
}

void print(const Json& tasks) {
  auto isCopy = [](const Json& task) { return task["kind"] == "replicas"; };
  printCopies(tasks);
  if (!tasks.empty() && std::all_of(tasks.begin(), tasks.end(), isCopy)) {
    return;
  }
  Table table({"TASK", "KIND", "SHARDS LEFT", "TO COPY IN ALL", "SPEED"});
  for (const auto& task : tasks) {
    if (isCopy(task)) {
      continue;
    }
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
  Json tasks = tasksOf(status, map);
  co_await addCopies(context, found.value()->admin, tasks);
  for (auto& task : tasks) {
    if (options.name.empty() || task["id"] == options.name) {
      chosen.push_back(task);
    }
  }
  if (!options.name.empty() && chosen.empty()) {
    co_return complain(EXIT_REFUSED, "task-not-found",
                       "there is no task '" + options.name + "' (any more); see: dfsadmin task list");
  }
  context.json ? printJson({{"tasks", chosen}}) : print(chosen);
  co_return EXIT_HEALTHY;
}

namespace {

Task<int> cancelCopies(Context& context, const std::string& name) {
  uint64_t id = strtoull(name.c_str() + REPLICAS.size(), nullptr, 10);
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto request = found.value()->admin.cancelCopyTaskRequest();
  request.setTask(id);
  kj::Promise<capnp::Response<wire::Admin::CancelCopyTaskResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "cancelling");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "task-not-cancelled", name + ": " + outcome.error().why);
  }
  co_return printDone(context, {{"task", name}}, name + " is cancelled; what it has copied stays as it is");
}

}  // namespace

Task<int> cancelTask(Context& context, const Options& options) {
  if (options.name.compare(0, REPLICAS.size(), REPLICAS) == 0) {
    co_return co_await cancelCopies(context, options.name);
  }
  if (options.name.compare(0, DRAIN.size(), DRAIN) != 0) {
    co_return complain(EXIT_REFUSED, "task-not-cancelled",
                       "only a drain and the copying of files (replicas-ID) can be cancelled; repairs and rebalancing "
                       "end when all is in its place");
  }
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  std::string server = options.name.substr(DRAIN.size());
  auto outcome = co_await changeServer(context, found.value()->admin, server, wire::ServerChange::RESUME, 0);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "task-not-cancelled", options.name + ": " + outcome.error().why);
  }
  co_return printDone(context, {{"task", options.name}}, server + " is in service again");
}

}  // namespace cairn::admin
