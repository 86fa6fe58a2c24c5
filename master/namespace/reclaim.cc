// The reclaim queue: objects whose chunks the primaries are to delete.
#include <sys/stat.h>

#include <algorithm>

#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

uint32_t chunkCount(uint64_t size, uint8_t chunkBits) {
  uint64_t chunkBytes = uint64_t{1} << chunkBits;
  return static_cast<uint32_t>(size / chunkBytes + (size % chunkBytes != 0));
}

uint64_t sizeMax(uint8_t chunkBits) {
  return uint64_t{UINT32_MAX} << chunkBits;
}

void reclaimObject(Execution& execution, const InodeRecord& inode, bool inUse) {
  if (!S_ISREG(inode.mode)) {
    return;
  }
  for (const auto& cut : inode.cuts) {
    execution.store.erase(keys::cut(cut.queueId));
  }
  uint32_t chunks = std::max(chunkCount(inode.largestSize, inode.chunkBits), inUse ? 1u : 0u);
  if (chunks > 0) {
    ReclaimItem item{0, inode.object, inode.cls, chunks};
    execution.store.put(keys::reclaim(execution.head.nextQueueId++), encode(item));
    execution.changes.queued = true;
  }
}

Status reclaimed(Execution& execution, capnp::List<uint64_t>::Reader ids) {
  for (uint64_t id : ids) {
    if (execution.store.has(keys::reclaim(id))) {
      execution.store.erase(keys::reclaim(id));
    }
  }
  return {};
}

}  // namespace cairn
