// Whether a daemon runs on a data directory, found out without writing to it.
#pragma once
#include <string>

#include "common/result.h"

namespace cairn {

// Of the lock file that a daemon holds (Disk::lock). False when there is none.
Result<bool> isHeld(const std::string& lockPath);

}  // namespace cairn
