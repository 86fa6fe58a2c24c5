// dfsadmin history: what administrators did, as the replicated log tells it.
#include "tools/admin/history.h"

#include <ctime>

#include "fuse-client/client/wire.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

Json itemJson(wire::AuditItem::Reader item) {
  auto outcome = item.getOutcome();
  bool done = item.getEnded() && outcome.getErrno() == 0;
  return {{"id", item.getId()},
          {"time", item.getTime().getSeconds()},
          {"who", item.getWho().cStr()},
          {"command", item.getCommand().cStr()},
          {"action", item.getAction().cStr()},
          {"outcome", !item.getEnded() ? "begun" : done ? "done" : "refused"},
          {"why", done || !item.getEnded() ? Json(nullptr) : Json(outcome.getWhy().cStr())}};
}

}  // namespace

std::string timeText(int64_t seconds) {
  std::time_t time = seconds;
  std::tm parts{};
  localtime_r(&time, &parts);
  char text[32];
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

Task<Json> readHistory(Context& context, wire::Admin::Client admin, uint32_t itemsMax) {
  auto request = admin.historyRequest();
  request.setItemsMax(itemsMax);
  kj::Promise<capnp::Response<wire::Admin::HistoryResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "reading the history");
  Json items = Json::array();
  for (auto item : reply.getItems()) {
    items.push_back(itemJson(item));
  }
  co_return items;
}

Task<Result<uint64_t>> beginAction(Context& context, wire::Admin::Client admin, std::string action) {
  auto request = admin.beginActionRequest();
  request.setAction(action);
  kj::Promise<capnp::Response<wire::Admin::BeginActionResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "noting the action");
  auto outcome = readOutcome(reply.getOutcome());
  co_return outcome.ok() ? Result<uint64_t>(reply.getId()) : Result<uint64_t>(outcome.error());
}

Task<void> endAction(Context& context, wire::Admin::Client admin, uint64_t id, Status outcome) {
  auto request = admin.endActionRequest();
  request.setId(id);
  auto out = request.initOutcome();
  out.setErrno(outcome.code());
  if (!outcome.ok()) {
    out.setWhy(outcome.error().why);
  }
  kj::Promise<capnp::Response<wire::Admin::EndActionResults>> sent = request.send();
  co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "noting the action's end");
}

Task<int> showHistory(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto items = co_await readHistory(context, master.value()->admin, options.last);
  if (context.json) {
    printJson({{"history", items}});
    co_return EXIT_HEALTHY;
  }
  Table table({"TIME", "WHO", "OUTCOME", "ACTION"});
  for (const auto& item : items) {
    std::string outcome = item["outcome"];
    std::string why = item["why"].is_null() ? "" : ": " + item["why"].get<std::string>();
    table.add({timeText(item["time"]), item["who"], outcome, item["action"].get<std::string>() + why});
  }
  table.print();
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
