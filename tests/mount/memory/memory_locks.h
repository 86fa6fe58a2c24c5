// What dfs-mount-memory has in place of the master's locks.
#pragma once
#include <map>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "fuse-client/client/signal.h"
#include "fuse-client/client/types.h"
#include "master/namespace/locks.h"

namespace cairn {

class MemoryLocks {
 public:
  Status lock(InodeId inode, HandleId handle, const LockWish& wish);
  Task<Status> await(InodeId inode, LockWish wish);
  LockWish test(InodeId inode, LockWish wish) const;
  void unlockAll(InodeId inode, bool flock, uint64_t owner);
  void release(InodeId inode, HandleId handle);

 private:
  void change(const LockChange& change);

  std::vector<FileLock> held_;
  std::map<uint64_t, HandleId> through_;  // by owner
  Signal freed_;
};

}  // namespace cairn
