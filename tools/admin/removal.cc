// dfsadmin removal: chunks that no file has or that belong elsewhere, and that are so many that people must agree.
#include <charconv>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

Json heldOf(const Json& status) {
  Json all = Json::array();
  for (const auto& server : status["servers"]) {
    for (const auto& volume : server["volumes"]) {
      if (!volume["held"].is_null()) {
        Json held = volume["held"];
        held["server"] = server["name"];
        held["volume"] = volume["id"];
        all.push_back(held);
      }
    }
  }
  return all;
}

}  // namespace

Task<int> listRemovals(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  Json all = heldOf(status);
  if (context.json) {
    printJson({{"removals", all}});
    co_return EXIT_HEALTHY;
  }
  Table table({"PLAN", "SERVER", "VOLUME", "NO FILE'S", "BELONG ELSEWHERE", "OF CHUNKS"});
  for (const auto& held : all) {
    table.add({held["plan"], held["server"], held["volume"], held["unknownChunks"].dump(),
               held["surplusChunks"].dump(), held["ofChunks"].dump()});
  }
  table.print();
  co_return EXIT_HEALTHY;
}

Task<int> applyRemoval(Context& context, const Options& options) {
  uint64_t plan = 0;
  const char* end = options.planId.data() + options.planId.size();
  if (std::from_chars(options.planId.data(), end, plan, 16).ptr != end || plan == 0) {
    co_return complain(EXIT_USAGE, "usage", options.planId + " is no plan; see: dfsadmin removal list");
  }
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto request = found.value()->admin.agreeRemovalRequest();
  request.setPlan(plan);
  kj::Promise<capnp::Response<wire::Admin::AgreeRemovalResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "removal apply");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "removal-not-found", "nothing is removed: " + outcome.error().why);
  }
  co_return printDone(context, {{"plan", options.planId}},
                      "these chunks go into quarantine now, where they stay for a while");
}

}  // namespace cairn::admin
