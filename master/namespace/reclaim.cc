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
  dropMove(execution, inode.id);
  uint32_t chunks = std::max(chunkCount(inode.largestSize, inode.chunkBits), inUse ? 1u : 0u);
  if (chunks > 0) {
    ReclaimItem item{0, inode.object, inode.cls, chunks};
    execution.store.put(keys::reclaim(execution.head.nextQueueId++), encode(item));
    execution.changes.queued = true;
  }
}

Status reclaimed(Execution& execution, capnp::List<uint64_t>::Reader ids) {
  bool unsealed = false;
  for (uint64_t id : ids) {
    std::string value;
    if (execution.store.get(keys::reclaim(id), value)) {
      ReclaimItem item;
      decode(value, item);
      unsealed |= item.left && seal(execution, item.object, false);
      execution.store.erase(keys::reclaim(id));
    }
  }
  if (unsealed) {
    raiseMap(execution);
  }
  return {};
}

}  // namespace cairn
