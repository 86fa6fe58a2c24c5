// The production side of the Network seam: Unix sockets and TCP of the operating system.
#pragma once
#include <kj/async-io.h>

#include "rpc/network.h"

namespace cairn {

// `network` (of the process's AsyncIoContext) must outlive the result.
kj::Own<Network> newSystemNetwork(kj::Network& network);

}  // namespace cairn
