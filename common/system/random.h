// Chance from the kernel: a generator seeded once by getrandom(2). Fit for ids and jitter, not for keys.
#pragma once
#include <kj/memory.h>

#include "common/random.h"

namespace cairn {

kj::Own<Random> newSystemRandom();

}  // namespace cairn
