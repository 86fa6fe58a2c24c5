// Registration: a chunkserver's heartbeats, over one link.
#pragma once
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

// `capsules`: where it keeps copies of the state; one that offers none passes nothing.
wire::Registration::Client newRegistration(Lifeline& lifeline, ServerId server, Incarnation incarnation,
                                           std::string name, wire::MapWatcher::Client watcher,
                                           kj::Maybe<wire::CapsuleKeeper::Client> capsules);

}  // namespace cairn
