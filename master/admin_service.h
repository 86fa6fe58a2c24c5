// Admin: what dfsadmin asks.
#pragma once
#include "master/audit.h"
#include "master/core.h"
#include "schema/master.capnp.h"

namespace cairn {

wire::Admin::Client newAdmin(Lifeline& lifeline, AuditCaller caller);

// How the cluster stands.
void writeStatus(Core& core, wire::ClusterStatus::Builder out);

}  // namespace cairn
