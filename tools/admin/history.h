// The history of what administrators did. What goes through the master is told of by the master; what dfsadmin does
// elsewhere it has written down itself, before and after.
#pragma once
#include <string>

#include "tools/admin/master_link.h"
#include "tools/admin/output.h"

namespace cairn::admin {

// "2026-05-31 17:20:05", in this machine's time zone.
std::string timeText(int64_t seconds);
// The newest `itemsMax`, oldest first.
Task<Json> readHistory(Context& context, wire::Admin::Client admin, uint32_t itemsMax);
// The action's id.
Task<Result<uint64_t>> beginAction(Context& context, wire::Admin::Client admin, std::string action);
Task<void> endAction(Context& context, wire::Admin::Client admin, uint64_t id, Status outcome);

}  // namespace cairn::admin
