// written: sizes and times that came with data which the chunkservers have already, and times of reading.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

// To have been read is no change of a file: its change time stays. Times go forward only, for readers on several mounts
// tell of them in any order.
Status readOne(Execution& execution, InodeRecord& inode, wire::Written::Reader item, wire::Attributes::Builder now) {
  constexpr uint32_t NANOS_PER_SECOND = 1'000'000'000;
  if (item.getAccessed().getNanos() >= NANOS_PER_SECOND) {
    return Error{EINVAL, "nanoseconds out of range"};
  }
  inode.accessed = std::max(inode.accessed, readTime(item.getAccessed()));
  save(execution, inode);
  writeAttributes(execution, inode, now);
  return {};
}

// `charged`: what of its growth the session's grant has paid.
Status writtenOne(Execution& execution, SessionId session, wire::Written::Reader item, wire::Attributes::Builder now,
                  uint64_t& charged) {
  InodeRecord inode;
  auto reached = reach(execution.store, InodeId{item.getInode()}, inode);
  if (!reached.ok()) {
    return reached;
  }
  if (item.hasAccessed()) {
    return readOne(execution, inode, item, now);
  }
  if (!S_ISREG(inode.mode)) {
    return Error{EINVAL, "only regular files are written"};
  }
  // Whatever was acknowledged of the object before is in the copy.
  bool known = item.getObject() != 0 && (inode.object == ObjectId{item.getObject()} ||
                                         inode.movedFrom == ObjectId{item.getObject()});
  if (!known) {
    return Error{ESTALE, "the file was truncated to nothing since"};
  }
  if (item.getSize() > sizeMax(inode.chunkBits)) {
    return Error{EFBIG, {}};
  }
  uint64_t growth = std::max(inode.size, item.getSize()) - inode.size;
  auto paid = chargeGrowth(execution, session, inode.parent, growth, UINT64_MAX);
  if (!paid.ok()) {
    return paid.error();
  }
  charged = paid.value();
  uint64_t sizeBefore = inode.size;
  uint64_t allocatedBefore = inode.allocated;
  inode.size = std::max(inode.size, item.getSize());
  inode.largestSize = std::max(inode.largestSize, inode.size);
  int64_t change = std::max(item.getAllocatedDelta(), -static_cast<int64_t>(inode.allocated));
  change = std::min(change, static_cast<int64_t>(sizeMax(inode.chunkBits)) - static_cast<int64_t>(inode.allocated));
  inode.allocated += static_cast<uint64_t>(change);
  execution.head.allocated += static_cast<uint64_t>(change);
  resized(execution, inode, sizeBefore, allocatedBefore);
  if (item.hasModified()) {
    inode.modified = readTime(item.getModified());
    // That of the write, which its mount has shown since; not that of this report, which comes later.
    inode.changed = std::max(inode.changed, std::min(inode.modified, execution.now()));
  }
  if (item.getClearSuid()) {
    dropPrivileges(execution, inode);
  }
  save(execution, inode);
  writeAttributes(execution, inode, now);
  return {};
}

}  // namespace

Status written(Execution& execution, SessionId session, capnp::List<wire::Written>::Reader items,
               wire::Reply::Builder reply) {
  if (items.size() > WRITTEN_MAX) {
    return Error{E2BIG, "too many files in one message"};
  }
  auto outcomes = reply.initWritten(items.size());
  auto now = reply.initWrittenNow(items.size());
  std::vector<uint64_t> charged(items.size());
  for (unsigned i = 0; i < items.size(); ++i) {
    writeOutcome(writtenOne(execution, session, items[i], now[i], charged[i]), outcomes[i]);
  }
  if (std::any_of(charged.begin(), charged.end(), [](uint64_t bytes) { return bytes > 0; })) {
    auto out = reply.initCharged(items.size());
    for (unsigned i = 0; i < items.size(); ++i) {
      out.set(i, charged[i]);
    }
  }
  return {};
}

}  // namespace cairn
