// What every verb of dfsadmin gets: the seams, the global options, what main.cc knows of the machine.
#pragma once
#include <leveldb/env.h>

#include <functional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/result.h"
#include "common/system/host.h"
#include "rpc/network.h"

namespace cairn::admin {

// Exit codes of dfsadmin: part of its contract.
constexpr int EXIT_HEALTHY = 0;  // or: done
constexpr int EXIT_DEGRADED = 1;
constexpr int EXIT_REFUSED = 2;  // or: critical
constexpr int EXIT_UNREACHABLE = 3;
constexpr int EXIT_USAGE = 64;

struct Context {
  Clock& clock;
  Network& network;
  Random& random;
  std::function<Result<kj::Own<Disk>>(const std::string& directory)> openDisk;
  std::string hostId;
  std::string workingDirectory;
  std::vector<MountEntry> mounts;
  std::string caller;   // user and host, for the history
  std::string command;  // as it was typed
  bool terminal = false;  // standard error is one: progress may be shown

  // Set by the global options.
  std::string clusterFile;
  bool json = false;

  // To masters that a join token pins.
  std::function<kj::Own<Network>(const std::string& authorityFingerprint)> joiningNetwork;

  leveldb::Env* env = nullptr;

  // The texts of files, or why there is none within `limit`; reading may get stuck in a file system.
  std::function<std::vector<Result<std::string>>(const std::vector<std::string>& paths, Nanos limit)> readTexts;
  // Lets everybody read a file that holds no secret: daemons run as a user of their own.
  std::function<void(const std::string& path)> publish = [](const std::string&) {};
  // Of a process, itself among them; empty when there is no such process.
  std::function<std::vector<uint32_t>(uint32_t process)> threadsOf;
};

// The cluster of --cluster, or of the first of the usual places that has one.
Result<ClusterFile> readCluster(const Context& context);

// Which of the usual places has one; empty: none.
std::string usualPlace();

// "dfsadmin: what" on standard error: thing, cause and next step, and where more is to be read of it: `code` is one of
// codes.h. Returns `exitCode`.
int complain(int exitCode, const char* code, const std::string& what);

}  // namespace cairn::admin
