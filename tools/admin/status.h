// The cluster's state as one JSON value, in the schema that `dfsadmin status -o json` promises.
#pragma once
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"

namespace cairn::admin {

Task<Json> readStatus(Context& context, MasterLink& master);

// EXIT_HEALTHY, EXIT_DEGRADED or EXIT_REFUSED (critical).
int healthCode(const Json& status);

}  // namespace cairn::admin
