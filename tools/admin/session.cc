// dfsadmin session: the mounted clients.
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

void print(const Context& context, capnp::List<wire::SessionInfo>::Reader sessions) {
  Json all = Json::array();
  Table table({"SESSION", "NAME", "ATTACHED", "OPEN FILES", "LEASE LEFT"});
  for (auto session : sessions) {
    double left = static_cast<double>(session.getLeaseNanosLeft()) / SECOND;
    all.push_back({{"id", session.getId()},
                   {"name", session.getName().cStr()},
                   {"attached", session.getAttached()},
                   {"holds", session.getHolds()},
                   {"leaseSecondsLeft", left}});
    char text[32];
    snprintf(text, sizeof(text), "%.1f s", left);
    table.add({std::to_string(session.getId()), session.getName().cStr(), session.getAttached() ? "yes" : "no",
               std::to_string(session.getHolds()), text});
  }
  if (context.json) {
    printJson({{"sessions", all}});
  } else {
    table.print();
  }
}

}  // namespace

Task<int> listSessions(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  kj::Promise<capnp::Response<wire::Admin::SessionsResults>> sent = found.value()->admin.sessionsRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "sessions");
  print(context, reply.getSessions());
  co_return EXIT_HEALTHY;
}

Task<int> evictSession(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto request = found.value()->admin.evictRequest();
  request.setSession(options.id);
  kj::Promise<capnp::Response<wire::Admin::EvictResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "evict");
  auto outcome = readOutcome(reply.getOutcome());
  std::string session = "session " + std::to_string(options.id);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "session-not-evicted", session + " was not evicted: " + outcome.error().why +
                                         "; see: dfsadmin session list");
  }
  co_return printDone(context, {{"session", options.id}},
                      session + " is evicted: its open files are released and its late writes are refused");
}

}  // namespace cairn::admin
