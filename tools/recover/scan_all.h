// Scanning many disks at the same time into one map, and the names with them.
#pragma once
#include <leveldb/env.h>

#include <string>
#include <vector>

#include "common/random.h"
#include "common/task.h"
#include "common/workers.h"
#include "tools/recover/archive.h"

namespace cairn::rescue {

struct ScanOptions {
  std::vector<std::string> paths;  // volumes, chunkservers' and masters' directories
  std::string cluster;             // which one, when there are disks of several; 32 hex digits
  Disk* map = nullptr;             // nullptr: only look (verify)
};

struct ScanParts {
  DiskOpener opener;
  leveldb::Env& env;
  Workers& workers;
  Random& random;
};

// What was found, with all disks read. Refused (EBUSY, EINVAL): a directory that a daemon holds, disks of several
// clusters without a choice, what is no disk of a cluster.
Task<Result<std::vector<FoundDisk>>> scanAll(ScanOptions options, ScanParts parts);

}  // namespace cairn::rescue
