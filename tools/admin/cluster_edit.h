// Changes of a cluster.toml that leave its other lines as they are.
#pragma once
#include <string>

#include "tools/admin/context.h"

namespace cairn::admin {

// The lines of cluster.toml with another epoch, or with one master more.
std::string withEpoch(const std::string& text, GroupEpoch epoch);
std::string withMaster(const std::string& text, const MasterAddress& master);

// Reads the cluster file; context.clusterFile is where it was found then.
Result<ClusterFile> locateCluster(Context& context);
// Both change context.clusterFile, which must be set, durably, and only to what can be read.
Status noteEpoch(Context& context, GroupEpoch epoch);
Status noteMaster(Context& context, const MasterAddress& master);

}  // namespace cairn::admin
