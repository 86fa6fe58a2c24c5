// Registration: a chunkserver's heartbeats, over one link.
#pragma once
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

wire::Registration::Client newRegistration(Lifeline& lifeline, ServerId server, Incarnation incarnation,
                                           std::string name, wire::MapWatcher::Client watcher);

}  // namespace cairn
