// Changing the state of a chunkserver.
#pragma once
#include <string>

#include "tools/admin/master_link.h"

namespace cairn::admin {

Task<Status> changeServer(Context& context, wire::Admin::Client admin, std::string name, wire::ServerChange change,
                          uint32_t seconds);

}  // namespace cairn::admin
