// dfsadmin node drain|maintenance|resume|remove|ok-to-stop.
#include "tools/admin/node_change.h"

#include <algorithm>
#include <cerrno>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/move_plan.h"
#include "tools/admin/output.h"
#include "tools/admin/shards.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

int report(const Context& context, const std::string& name, const Status& outcome, const std::string& done) {
  if (!outcome.ok()) {
    return complain(EXIT_REFUSED, outcome.code() == ENOENT ? "node-not-found" : "node-not-changed",
                    name + ": " + outcome.error().why);
  }
  if (context.json) {
    printJson({{"server", name}, {"done", done}});
  } else {
    std::cout << name << ": " << done << "\n";
  }
  return EXIT_HEALTHY;
}

Task<int> change(Context& context, std::string name, wire::ServerChange wanted, uint32_t seconds, std::string done) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto outcome = co_await changeServer(context, found.value()->admin, name, wanted, seconds);
  co_return report(context, name, outcome, done);
}

}  // namespace

Task<Status> changeServer(Context& context, wire::Admin::Client admin, std::string name, wire::ServerChange change,
                          uint32_t seconds) {
  auto request = admin.changeServerRequest();
  request.setName(name);
  request.setChange(change);
  request.setSeconds(seconds);
  kj::Promise<capnp::Response<wire::Admin::ChangeServerResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "changing a server's state");
  co_return readOutcome(reply.getOutcome());
}

Task<int> drainNode(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  if (!options.force) {
    auto status = co_await readStatus(context, *found.value());
    auto map = co_await readMap(context, found.value()->admin);
    auto reckoned = planMove(map, status, Move::DRAIN, options.name);
    if (!reckoned.refused.empty()) {
      co_return complain(EXIT_REFUSED, "drain-refused", options.name + ": not drained: " + reckoned.refused +
                                           " (--force: begin all the same, and move what can be moved)");
    }
  }
  auto outcome = co_await changeServer(context, found.value()->admin, options.name, wire::ServerChange::DRAIN, 0);
  co_return report(context, options.name, outcome, "draining; watch it with: dfsadmin task list");
}

Task<int> maintainNode(Context& context, const Options& options) {
  uint32_t seconds = secondsOf(options.duration);
  if (seconds == 0) {
    co_return complain(EXIT_USAGE, "usage",
                       "--for '" + options.duration + "' is no duration; write 90s, 30m, 2h or 1d");
  }
  co_return co_await change(context, options.name, wire::ServerChange::MAINTAIN, seconds,
                            "in maintenance for " + durationText(seconds) + ": no copies are made elsewhere meanwhile");
}

Task<int> resumeNode(Context& context, const Options& options) {
  co_return co_await change(context, options.name, wire::ServerChange::RESUME, 0, "in service");
}

Task<int> removeNode(Context& context, const Options& options) {
  co_return co_await change(context, options.name, wire::ServerChange::REMOVE, 0, "removed");
}

// Whether stopping it would leave any shard with fewer copies than writes need.
Task<int> okToStop(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto map = co_await readMap(context, found.value()->admin);
  bool known = std::any_of(map.servers.begin(), map.servers.end(),
                           [&](auto& item) { return item.second.name == options.name; });
  if (!known) {
    co_return complain(EXIT_REFUSED, "node-not-found",
                       "there is no server '" + options.name + "'; see: dfsadmin node list");
  }
  Json harmed = Json::array();
  for (auto& [id, shard] : map.shards) {
    uint32_t left = 0;
    bool here = false;
    for (VolumeNumber volume : shard.inSync) {
      const ServerRecord* server = map.serverOf(volume);
      here = here || (server != nullptr && server->name == options.name);
      left += server != nullptr && server->online && map.volume(volume)->usable && server->name != options.name;
    }
    auto cls = map.classes.find(shardClass(id));
    if (here && left < (cls == map.classes.end() ? 1u : cls->second.minCopies)) {
      harmed.push_back({{"shard", raw(id)}, {"copiesLeft", left}});
    }
  }
  if (context.json) {
    printJson({{"server", options.name}, {"ok", harmed.empty()}, {"shards", harmed}});
  } else if (harmed.empty()) {
    std::cout << options.name << " can be stopped: every shard keeps enough copies\n";
  } else {
    Table table({"SHARD", "COPIES LEFT"});
    for (const auto& shard : harmed) {
      table.add({shard["shard"].dump(), shard["copiesLeft"].dump()});
    }
    table.print();
  }
  if (!harmed.empty()) {
    co_return complain(EXIT_REFUSED, "node-needed",
                       options.name + " must not be stopped: " + std::to_string(harmed.size()) +
                                         " shards would have too few copies to be written; wait until the cluster is "
                                         "healthy: dfsadmin wait healthy");
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
