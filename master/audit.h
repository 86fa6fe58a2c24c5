// The history of what administrators do: each action is in the log before it is begun, and again with what came of it.
#pragma once
#include <string>

#include "common/task.h"
#include "master/core.h"
#include "rpc/network.h"
#include "schema/admin.capnp.h"

namespace cairn {

struct AuditCaller {
  std::string who;
  std::string command;
};
// Whom the history names. What a caller says of itself comes with what the transport knows of it.
AuditCaller auditCaller(wire::AdminCaller::Reader claimed, const PeerIdentity& peer);

// The action's id. An error: it could not be written down, so the action must not be begun.
Task<Result<uint64_t>> beginAction(Replica& replica, AuditCaller caller, std::string action);
Task<Status> endAction(Replica& replica, uint64_t id, Status outcome);
Task<Status> changeSetting(Replica& replica, std::string name, uint64_t value, bool reset);

void writeHistory(const NamespaceReader& reader, uint32_t itemsMax, wire::Admin::HistoryResults::Builder out);
void writeSettings(const Core& core, wire::Admin::SettingsResults::Builder out);

// `action` is in the history before `act` runs, and its outcome after that. A call that ends with an exception has no
// outcome: nobody knows what came of it.
template <typename Context>
Task<void> recorded(Core& core, AuditCaller caller, std::string action, Context context,
                    Task<void> (*act)(Core&, Context)) {
  auto begun = co_await beginAction(core.replica, kj::mv(caller), kj::mv(action));
  if (!begun.ok()) {
    throwUnwritten(begun.error());
  }
  co_await act(core, context);
  auto outcome = context.getResults().getOutcome();
  Status done = outcome.getErrno() == 0 ? Status() : Status(Error{outcome.getErrno(), outcome.getWhy().cStr()});
  co_await endAction(core.replica, begun.value(), done);
}

}  // namespace cairn
