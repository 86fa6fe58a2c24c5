// The answer to FUSE_STATX, as in <linux/fuse.h> of kernels newer than the headers here: what statx(2) fills in.
#pragma once
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdint>

#include "common/clock.h"

namespace cairn {

struct StatxOut {
  uint64_t validSeconds = 0;
  uint32_t validNanos = 0;
  uint32_t flags = 0;
  uint64_t spare[2] = {};
  struct statx stat {};
};
static_assert(sizeof(StatxOut) == 288);

// `valid`: for how long the kernel may believe it.
StatxOut statxOf(const struct stat& known, const timespec& born, Nanos valid);

}  // namespace cairn
