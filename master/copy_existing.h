// The bytes of files that are there already, into another replication class.
#pragma once
#include <string>

#include "common/task.h"
#include "master/core.h"

namespace cairn {

// EBUSY: there are as many tasks as there may be.
Status mayCopyExisting(Core& core);
// Begins to copy what is below the directory, or the file itself. The task's id.
Task<Result<uint64_t>> copyExisting(Core& core, InodeId inode, std::string path, ClassId cls);

}  // namespace cairn
