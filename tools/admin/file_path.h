// Regular files by their paths, for the verbs of `dfsadmin file`.
#pragma once
#include <string>

#include "tools/admin/chunk_doors.h"
#include "tools/admin/master_link.h"

namespace cairn::admin {

// A regular file by its path in a mount or from the root. The error says what to do.
Task<Result<FileTarget>> resolveFile(Context& context, MasterLink& master, const std::string& path);

}  // namespace cairn::admin
