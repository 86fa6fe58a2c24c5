// Files and directories by their paths, in a mount or from the root.
#pragma once
#include <string>

#include "tools/admin/chunk_doors.h"
#include "tools/admin/master_link.h"

namespace cairn::admin {

struct ResolvedPath {
  std::string path;  // from the cluster's root
  capnp::Response<wire::Admin::ResolveResults> reply;
  wire::Attributes::Reader attributes() const { return reply.getAttributes(); }
};

// The errors of both say what to do.
Task<Result<ResolvedPath>> resolvePath(Context& context, MasterLink& master, std::string path);
// A regular file.
Task<Result<FileTarget>> resolveFile(Context& context, MasterLink& master, const std::string& path);

}  // namespace cairn::admin
