// A path in the cluster and the replication class of its bytes: how many copies, and what no two of them share.
#pragma once
#include <string>

#include "tools/admin/master_link.h"

namespace cairn::admin {

struct ClassPath {
  std::string path;  // from the cluster's root
  bool isDirectory = false;
  ReplicationClass cls;  // of a directory: of what is made in it
};

// The error says what to do.
Task<Result<ClassPath>> resolveClass(Context& context, MasterLink& master, const ShardMap& map, std::string path);

}  // namespace cairn::admin
