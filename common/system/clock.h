// Time as the kernel tells it.
#pragma once
#include <kj/memory.h>

#include "common/clock.h"

namespace cairn {

// `timer` is the event loop's and must outlive the result.
kj::Own<Clock> newSystemClock(kj::Timer& timer);

}  // namespace cairn
