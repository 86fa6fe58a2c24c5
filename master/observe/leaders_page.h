// A master that doesn't lead shows what the leader knows: it asks it, as anybody could.
#pragma once
#include <string>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/task.h"
#include "rpc/network.h"

namespace cairn {

struct PageSearch {
  Clock& clock;
  Network& network;
  const ClusterFile& cluster;
  std::string name;  // of this master
  GroupEpoch epoch{};
};

// The leader's page as JSON. Throws within some seconds when no master leads, or the leader doesn't answer.
Task<std::string> leadersPage(PageSearch search);

}  // namespace cairn
