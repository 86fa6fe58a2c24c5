// ServerHome: a chunkserver's own directory. Says who the server is, for its whole life, and which volumes it has at
// which paths: an empty directory where a known volume should be is a disk that vanished, not a place for a new one.
//
//   server.id    text: format, cluster, server, epoch of the masters, one line for each volume
//   history      how far the masters have come that it obeyed (history_fence.h)
//   lock         held by the process
#pragma once
#include <map>
#include <string>

#include "chunkserver/history_fence.h"
#include "common/disk.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/result.h"

namespace cairn {

class ServerHome {
  struct Private {};

 public:
  ServerHome(Private, Disk& disk, ClusterId cluster) : history_(disk), disk_(disk), cluster_(cluster) {}
  KJ_DISALLOW_COPY(ServerHome);
  // Makes the server's id at its first start. The error names thing, cause and next step: another cluster's
  // directory, in use, damaged, a newer format.
  static Result<kj::Own<ServerHome>> open(Disk& disk, Random& random, ClusterId cluster);

  ServerId server() const { return server_; }
  // Null when there was never a volume at that path.
  VolumeId volumeAt(const std::string& path) const;
  // Durable when it returns.
  Status remember(const std::string& path, VolumeId volume);
  // The highest epoch of the masters' group that this server has heard of. Durable when rememberEpoch() returns.
  GroupEpoch epoch() const { return epoch_; }
  Status rememberEpoch(GroupEpoch epoch);
  HistoryFence& history() { return history_; }

 private:
  Status parse(const std::string& text);
  Status save();
  Error damaged(const std::string& line) const;

  HistoryFence history_;
  Disk& disk_;
  const ClusterId cluster_;
  ServerId server_;
  GroupEpoch epoch_{};
  std::map<std::string, VolumeId> volumes_;
  kj::Own<DirectoryLock> lock_;
};

}  // namespace cairn
