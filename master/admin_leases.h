// What dfsadmin asks of leases.
#pragma once
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

// Who may believe something of the inode, by session. `recalledNanos`: for how long already a session has left
// unanswered that it was asked to give it back; -1: it isn't being asked.
void writeLeases(const Core& core, InodeId inode, wire::Admin::LeasesResults::Builder out);

}  // namespace cairn
