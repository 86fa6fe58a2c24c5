// The production side of the Network seam: Unix sockets and TCP of the operating system.
#pragma once
#include <kj/async-io.h>

#include "rpc/network.h"

namespace cairn {

// `io` must outlive the result.
kj::Own<Network> newSystemNetwork(kj::AsyncIoContext& io);

}  // namespace cairn
