// ClientSession: what one mount asks of the master over one link.
#pragma once
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

// `watcher`: the link's watcher of the map, dropped with the service; when the watcher is lost, so is the link.
wire::ClientSession::Client newClientSession(Lifeline& lifeline, Sessions::Attached attached, uint64_t watcher);

}  // namespace cairn
