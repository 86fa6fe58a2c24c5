// dfsadmin file check: every block of every copy of a file, read from each in-sync member, verified and compared.
#pragma once
#include <string>

#include "tools/admin/chunk_doors.h"
#include "tools/admin/master_link.h"

namespace cairn::admin {

// A regular file by its path in a mount or from the root. The error says what to do.
Task<Result<FileTarget>> resolveFile(Context& context, MasterLink& master, const std::string& path);

// Prints what was found; the exit code: EXIT_DEGRADED when any copy is bad, differs or can't be read.
Task<int> checkFile(Context& context, const std::string& path);

}  // namespace cairn::admin
