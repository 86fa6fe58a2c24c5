// Settings of the whole cluster as they count now.
#pragma once
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"

namespace cairn::admin {

Task<Json> readSettings(Context& context, wire::Admin::Client admin);

}  // namespace cairn::admin
