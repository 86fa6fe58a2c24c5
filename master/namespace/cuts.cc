// Cuts: what a shrinking truncate leaves for the chunkservers to do, while the layout protects readers.
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

// A new cut kills all that an older one with a dead byte at or past its own does, so that one goes.
bool addCut(Execution& execution, InodeRecord& inode, uint64_t size) {
  auto covered = [&](const LayoutCut& cut) { return cut.firstDead >= size; };
  size_t kept = 0;
  for (const auto& cut : inode.cuts) {
    kept += covered(cut) ? 0 : 1;
  }
  if (kept >= CUTS_MAX) {
    return false;
  }
  dropMove(execution, inode.id);
  for (const auto& cut : inode.cuts) {
    if (covered(cut)) {
      execution.store.erase(keys::cut(cut.queueId));
    }
  }
  std::erase_if(inode.cuts, covered);
  LayoutCut cut{++inode.generation, size, execution.head.nextQueueId++};
  inode.cuts.push_back(cut);
  CutItem item{0,
               inode.id,
               inode.object,
               inode.cls,
               inode.chunkBits,
               cut.generation,
               size,
               chunkCount(inode.largestSize, inode.chunkBits)};
  execution.store.put(keys::cut(cut.queueId), encode(item));
  execution.changes.queued = true;
  return true;
}

Status cutsApplied(Execution& execution, capnp::List<uint64_t>::Reader ids) {
  for (uint64_t id : ids) {
    std::string value;
    if (!execution.store.get(keys::cut(id), value)) {
      continue;
    }
    CutItem item;
    decode(value, item);
    execution.store.erase(keys::cut(id));
    InodeRecord inode;
    if (find(execution.store, item.inode, inode)) {
      std::erase_if(inode.cuts, [&](const LayoutCut& cut) { return cut.queueId == id; });
      save(execution, inode);
    }
  }
  return {};
}

}  // namespace cairn
