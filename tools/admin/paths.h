// A path as a person gives it, inside a mount or from the cluster's root, as a path from the root.
#pragma once
#include <string>

#include "common/result.h"
#include "tools/admin/context.h"

namespace cairn::admin {

// Lexical: symbolic links in the path are not followed. EINVAL for a relative path outside every mount.
Result<std::string> clusterPath(const Context& context, const std::string& path);

// The mount that `path` is in or below; null when that is none of this kind.
const MountEntry* mountOf(const Context& context, const std::string& path);
// Something of this kind is mounted there.
bool isMount(const MountEntry& mount);

}  // namespace cairn::admin
