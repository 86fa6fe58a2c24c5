#include "master/copy_existing.h"

#include <cerrno>

namespace cairn {

Status mayCopyExisting(Core& core) {
  return core.mover.mayBegin();
}

Task<Result<uint64_t>> copyExisting(Core& core, InodeId inode, std::string path, ClassId cls) {
  co_return co_await core.mover.begin(inode, cls, path);
}

}  // namespace cairn
