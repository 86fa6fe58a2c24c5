// Observe: what the leading master tells others of how the cluster works, for them to show.
#pragma once
#include "master/core.h"
#include "schema/observe.capnp.h"

namespace cairn {

wire::Observe::Client newObserve(Lifeline& lifeline);

}  // namespace cairn
