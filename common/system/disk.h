// Files of the host, below one directory. Syncs and cold reads run on Workers.
#pragma once
#include "common/disk.h"
#include "common/workers.h"

namespace cairn {

// Opens a directory that exists; `workers` must outlive the disk's tasks. Every descriptor is closed
// at exec, and stays open until the last job that uses it has ended.
Result<kj::Own<Disk>> openSystemDisk(const std::string& directoryPath, Workers& workers);

}  // namespace cairn
