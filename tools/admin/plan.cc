// dfsadmin plan: what a change of the servers would do. Nothing is done.
#include <iostream>

#include "common/checksum.h"
#include "tools/admin/move_plan.h"
#include "tools/admin/node_change.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr size_t PLAN_DIGITS = 12;

// What a plan rests on: who is there, in which state, and which volumes have the shards. Two plans of the same id do
// the same. Only those that can be carried out have one.
std::string planIdOf(const ShardMap& map, Move move, const char* change, const std::string& server) {
  if (move != Move::DRAIN && move != Move::REMOVE) {
    return "";
  }
  std::string grounds = change + (" " + server);
  for (const auto& [id, one] : map.servers) {
    grounds += " " + one.name + std::to_string(static_cast<int>(one.state)) + (one.online ? "+" : "-");
  }
  for (const auto& [id, shard] : map.shards) {
    grounds += " " + std::to_string(raw(shard.id));
    for (VolumeNumber volume : shard.inSync) {
      grounds += "," + std::to_string(raw(volume));
    }
  }
  char digest[2 * sizeof(uint64_t) + 1];
  uint64_t hash = hash64(grounds);
  snprintf(digest, sizeof(digest), "%016llx", static_cast<unsigned long long>(hash));
  return std::string(change) + ":" + server + ":" + std::string(digest).substr(0, PLAN_DIGITS);
}

void print(const Context& context, const char* change, const std::string& server, const MovePlan& plan,
           const std::string& id) {
  if (context.json) {
    printJson({{"change", change},
               {"server", server},
               {"copiesMoved", plan.copiesMoved},
               {"bytesToMove", plan.bytesToMove},
               {"etaSeconds", plan.etaSeconds},
               {"leastCopies", plan.leastCopies},
               {"availableBytesAfter", plan.availableBytesAfter},
               {"fullestPercentAfter", plan.fullestPercentAfter},
               {"id", id.empty() || !plan.refused.empty() ? Json(nullptr) : Json(id)},
               {"refused", plan.refused.empty() ? Json(nullptr) : Json(plan.refused)}});
    return;
  }
  std::cout << "To copy          " << sizeText(plan.bytesToMove) << " in " << plan.copiesMoved << " copies of shards\n"
            << "Time             about " << durationText(plan.etaSeconds) << "\n"
            << "Least copies     " << plan.leastCopies << " on the way\n"
            << "Available after  " << sizeText(plan.availableBytesAfter) << " on the disks, the fullest "
            << plan.fullestPercentAfter << " % full\n";
  if (!id.empty() && plan.refused.empty()) {
    std::cout << "To do it         dfsadmin apply " << id << "\n";
  }
}

Task<int> plan(Context& context, const Options& options, Move move, const char* change) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  auto map = co_await readMap(context, found.value()->admin);
  bool known = false;
  for (auto& [id, server] : map.servers) {
    known = known || server.name == options.name;
  }
  if (!known && move != Move::ADD) {
    co_return complain(EXIT_REFUSED, "node-not-found",
                       "there is no server '" + options.name + "'; see: dfsadmin node list");
  }
  NewServer added{options.bytes, options.rack, options.zone};
  auto reckoned = planMove(map, status, move, options.name, added);
  print(context, change, options.name, reckoned, planIdOf(map, move, change, options.name));
  if (!reckoned.refused.empty()) {
    co_return complain(EXIT_REFUSED, "plan-refused", "this must not be done: " + reckoned.refused);
  }
  co_return EXIT_HEALTHY;
}

}  // namespace

Task<int> planAdd(Context& context, const Options& options) {
  co_return co_await plan(context, options, Move::ADD, "add-node");
}
Task<int> planRemove(Context& context, const Options& options) {
  co_return co_await plan(context, options, Move::REMOVE, "remove-node");
}
Task<int> planDrain(Context& context, const Options& options) {
  co_return co_await plan(context, options, Move::DRAIN, "drain");
}
Task<int> planFail(Context& context, const Options& options) {
  co_return co_await plan(context, options, Move::FAIL, "fail");
}

// The first part of what a plan says: a server that is removed is drained first, and that takes its time.
Task<int> applyPlan(Context& context, const Options& options) {
  const std::string& id = options.planId;
  size_t first = id.find(':'), last = id.rfind(':');
  std::string change = id.substr(0, first);
  Move move = change == "drain" ? Move::DRAIN : Move::REMOVE;
  if (first == id.npos || first == last || (change != "drain" && change != "remove-node")) {
    co_return complain(EXIT_REFUSED, "plan-not-found", "'" + id + "' is no plan; see: dfsadmin plan drain NAME");
  }
  std::string server = id.substr(first + 1, last - first - 1);
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto map = co_await readMap(context, found.value()->admin);
  if (planIdOf(map, move, change.c_str(), server) != id) {
    co_return complain(EXIT_REFUSED, "plan-outdated",
                       "the cluster isn't any more what the plan was made for; see: dfsadmin plan " + change + " " +
                           server);
  }
  bool drained = false;
  for (const auto& [key, one] : map.servers) {
    drained = drained || (one.name == server && one.state == wire::ServerState::DRAINED);
  }
  bool removes = move == Move::REMOVE && drained;
  auto wanted = removes ? wire::ServerChange::REMOVE : wire::ServerChange::DRAIN;
  auto outcome = co_await changeServer(context, found.value()->admin, server, wanted, 0);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "node-not-changed", server + ": " + outcome.error().why);
  }
  std::string then = move == Move::REMOVE ? "; when it is drained: dfsadmin node remove " + server : "";
  co_return printDone(context, {{"plan", id}, {"server", server}},
                      server + (removes ? ": removed" : ": draining; watch it with: dfsadmin task list" + then));
}

}  // namespace cairn::admin
