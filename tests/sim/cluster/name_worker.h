// NameWorker: makes, renames and removes names, one operation after another, each answered or not when something fails.
#pragma once
#include <cerrno>
#include <string>

#include "fuse-client/client/client.h"
#include "tests/sim/cluster/names.h"
#include "tests/sim/cluster/test_file.h"

namespace cairn {

class NameWorker {
 public:
  // Works in `directory`, which is its own.
  NameWorker(Client& client, NameModel& model, InodeId directory = ROOT_INODE)
      : client_(client), model_(model), directory_(directory) {}

  Task<void> run();
  // What is there, as `reader` sees it.
  static Task<NameModel::Listing> listing(Client& reader, InodeId directory = ROOT_INODE);

  bool stopping = false;
  unsigned done = 0;

 private:
  static NameModel::End endOf(int code) {
    return code == 0 ? NameModel::End::DONE : code == EIO ? NameModel::End::UNKNOWN : NameModel::End::REFUSED;
  }
  Client& client_;
  NameModel& model_;
  const InodeId directory_;
};

}  // namespace cairn
