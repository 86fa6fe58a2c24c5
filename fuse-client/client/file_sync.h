// FileSync: makes written data durable. Waits for the acknowledgement of what was written, then, side by side, for the
// sync of its chunks on all in-sync members and for the commit of its size. One small dirty range takes one
// round trip for both.
#pragma once
#include <kj/async.h>

#include <deque>

#include "common/task.h"
#include "fuse-client/client/inode.h"
#include "fuse-client/client/size_reporter.h"
#include "fuse-client/client/unsynced.h"
#include "fuse-client/client/write_buffer.h"

namespace cairn {

class FileSync {
 public:
  FileSync(InodeTable& inodes, WriteBuffer& buffer, Unsynced& unsynced, SizeReporter& reporter)
      : inodes_(inodes), buffer_(buffer), unsynced_(unsynced), reporter_(reporter) {}

  // Failures are noted at the inode, for each handle to be told. `dataOnly`: times needn't be durable.
  Task<void> sync(kj::Own<Inode> inode, bool dataOnly);
  // Everything of the mount.
  Task<void> syncAll();

 private:
  static constexpr unsigned ROUNDS_MAX = 8;
  static constexpr size_t FILES_PARALLEL_MAX = 64;

  Task<void> syncKept(kj::Own<Inode> inode);
  Task<void> syncFrom(std::deque<kj::Own<Inode>>& files);

  InodeTable& inodes_;
  WriteBuffer& buffer_;
  Unsynced& unsynced_;
  SizeReporter& reporter_;
};

}  // namespace cairn
