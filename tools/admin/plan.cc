// dfsadmin plan: what a change of the servers would do. Nothing is done.
#include <iostream>

#include "tools/admin/move_plan.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

void print(const Context& context, const char* change, const std::string& server, const MovePlan& plan) {
  if (context.json) {
    printJson({{"change", change},
               {"server", server},
               {"copiesMoved", plan.copiesMoved},
               {"bytesToMove", plan.bytesToMove},
               {"etaSeconds", plan.etaSeconds},
               {"leastCopies", plan.leastCopies},
               {"availableBytesAfter", plan.availableBytesAfter},
               {"fullestPercentAfter", plan.fullestPercentAfter},
               {"refused", plan.refused.empty() ? Json(nullptr) : Json(plan.refused)}});
    return;
  }
  std::cout << "To copy          " << sizeText(plan.bytesToMove) << " in " << plan.copiesMoved << " copies of shards\n"
            << "Time             about " << durationText(plan.etaSeconds) << "\n"
            << "Least copies     " << plan.leastCopies << " on the way\n"
            << "Available after  " << sizeText(plan.availableBytesAfter) << " on the disks, the fullest "
            << plan.fullestPercentAfter << " % full\n";
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
    co_return complain(EXIT_REFUSED, "there is no server '" + options.name + "'; see: dfsadmin node list");
  }
  NewServer added{options.bytes, options.rack, options.zone};
  auto reckoned = planMove(map, status, move, options.name, added);
  print(context, change, options.name, reckoned);
  if (!reckoned.refused.empty()) {
    co_return complain(EXIT_REFUSED, "this must not be done: " + reckoned.refused);
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

}  // namespace cairn::admin
