// The masters as a group, as the leader tells of them.
#pragma once
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"

namespace cairn::admin {

// Keys: term, commitIndex, appliedIndex, digest, members [{name, id, role, reachable, matchIndex}].
Task<Json> readGroup(Context& context, MasterLink& master);

}  // namespace cairn::admin
