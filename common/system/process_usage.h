// What this process costs the machine, as the kernel tells it.
#pragma once
#include <cstdint>

namespace cairn {

struct ProcessUsage {
  double cpuSeconds = 0;
  uint64_t residentBytes = 0;
  uint64_t descriptors = 0;
  double startedSeconds = 0;  // since 1970
};

ProcessUsage processUsage();

}  // namespace cairn
