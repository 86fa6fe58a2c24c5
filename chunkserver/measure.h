// What a chunkserver's metrics say besides its counters: its volumes, its part in the shards.
#pragma once
#include "chunkserver/registration.h"
#include "chunkserver/replication/replicator.h"
#include "common/metrics/sheet.h"

namespace cairn {

void measureReplicas(Replicator& replicator, MetricsSheet& sheet);
void measureVolume(const VolumeStanding& volume, MetricsSheet& sheet);

}  // namespace cairn
