// By which paths an inode is to be found.
#pragma once
#include "common/task.h"
#include "master/core.h"

namespace cairn {

using PathsCall = capnp::CallContext<wire::Admin::PathsParams, wire::Admin::PathsResults>;

// Looks at every name of the directories that have one of it, and lets the loop go on in between.
Task<void> findPaths(Core& core, PathsCall context);

}  // namespace cairn
