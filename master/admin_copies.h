// What administrators are told of files that are copied into another replication class.
#pragma once
#include "master/core.h"

namespace cairn {

void writeCopyTasks(const Core& core, wire::Admin::CopyTasksResults::Builder out);

}  // namespace cairn
