// Health, as far as failure domains above the server go: who doesn't say where it is, and which classes have too few.
// Pure.
#pragma once
#include <vector>

#include "master/health.h"

namespace cairn {

void assessDomains(const ShardMap& map, std::vector<Reason>& out);

}  // namespace cairn
