#include "tools/admin/context.h"

#include <cerrno>
#include <iostream>

namespace cairn::admin {

namespace {

constexpr const char* USUAL_PLACES[] = {"./.dfs/cluster.toml", "/etc/cairnfs/cluster.toml"};

}  // namespace

Result<ClusterFile> readCluster(const Context& context) {
  if (!context.clusterFile.empty()) {
    return readClusterFile(context.clusterFile);
  }
  for (const char* place : USUAL_PLACES) {
    auto file = readClusterFile(place);
    if (file.ok() || file.code() != ENOENT) {
      return file;
    }
  }
  return Error{ENOENT, std::string("no cluster file: neither ") + USUAL_PLACES[0] + " nor " + USUAL_PLACES[1] +
                           " is there; name one with --cluster FILE or DFS_CLUSTER, or start a cluster: tools/dfs up"};
}

std::string usualPlace() {
  for (const char* place : USUAL_PLACES) {
    if (readClusterFile(place).code() != ENOENT) {
      return place;
    }
  }
  return "";
}

int complain(int exitCode, const char* code, const std::string& what) {
  std::cerr << "dfsadmin: " << what << "\n";
  if (exitCode != EXIT_USAGE) {
    std::cerr << "more of this: dfsadmin explain " << code << "\n";
  }
  std::cerr << std::flush;
  return exitCode;
}

}  // namespace cairn::admin
