// setAttributes: chmod, chown, truncate, utimensat, after the kernel's setattr_prepare() and notify_change().
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "master/namespace/acl.h"
#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

constexpr uint32_t MODE = 1;
constexpr uint32_t UID = 2;
constexpr uint32_t GID = 4;
constexpr uint32_t SIZE = 8;
constexpr uint32_t ACCESSED = 16;
constexpr uint32_t MODIFIED = 32;
constexpr uint32_t ACCESSED_NOW = 64;
constexpr uint32_t MODIFIED_NOW = 128;
constexpr uint32_t ONLY_GROW = 256;
constexpr uint32_t ALL = 1023;
constexpr uint32_t NANOS_PER_SECOND = 1'000'000'000;

struct Wish {
  wire::SetAttributes::Reader op;
  uint32_t which;
  bool has(uint32_t bits) const { return (which & bits) != 0; }
};

Status mayResize(const Credentials& caller, const InodeRecord& inode, const Wish& wish) {
  if (!wish.has(SIZE)) {
    return {};
  }
  if (!S_ISREG(inode.mode)) {
    return Error{S_ISDIR(inode.mode) ? EISDIR : EINVAL, "only regular files have a size to set"};
  }
  if (!wish.op.getHeld() && !may(caller, inode, MAY_WRITE)) {
    return Error{EACCES, {}};
  }
  return wish.op.getSize() > sizeMax(inode.chunkBits) ? Status(Error{EFBIG, {}}) : Status();
}

Status mayOwn(const Credentials& caller, const InodeRecord& inode, const Wish& wish) {
  if (caller.isRoot()) {
    return {};
  }
  bool owner = caller.uid() == inode.uid;
  if (wish.has(UID) && (!owner || wish.op.getUid() != inode.uid)) {
    return Error{EPERM, {}};
  }
  bool ownGroup = wish.op.getGid() == inode.gid || caller.inGroup(wish.op.getGid());
  return wish.has(GID) && (!owner || !ownGroup) ? Status(Error{EPERM, {}}) : Status();
}

Status maySetTimes(const Credentials& caller, const InodeRecord& inode, const Wish& wish) {
  bool given = wish.has(ACCESSED | MODIFIED);
  bool now = wish.has(ACCESSED_NOW) && wish.has(MODIFIED_NOW);
  bool any = given || wish.has(ACCESSED_NOW | MODIFIED_NOW);
  if ((wish.has(ACCESSED) && wish.op.getAccessed().getNanos() >= NANOS_PER_SECOND) ||
      (wish.has(MODIFIED) && wish.op.getModified().getNanos() >= NANOS_PER_SECOND)) {
    return Error{EINVAL, "nanoseconds out of range"};
  }
  // Times that come with a size belong to the write that the size was allowed for.
  if (!any || caller.owns(inode) || (wish.has(SIZE) && !given) || wish.op.getHeld()) {
    return {};
  }
  if (given || !now) {
    return Error{EPERM, {}};
  }
  return may(caller, inode, MAY_WRITE) ? Status() : Status(Error{EACCES, {}});
}

Status maySet(const Credentials& caller, const InodeRecord& inode, const Wish& wish) {
  if ((wish.which & ~ALL) != 0) {
    return Error{EINVAL, "unknown attributes"};
  }
  auto resize = mayResize(caller, inode, wish);
  if (!resize.ok()) {
    return resize;
  }
  auto owner = mayOwn(caller, inode, wish);
  if (!owner.ok()) {
    return owner;
  }
  if (wish.has(MODE)) {
    if (S_ISLNK(inode.mode)) {
      return Error{EOPNOTSUPP, "a symlink has no permissions"};
    }
    if (!caller.owns(inode)) {
      return Error{EPERM, {}};
    }
  }
  return maySetTimes(caller, inode, wish);
}

// False when the layout has no room for another cut.
bool resize(Execution& execution, const Credentials& caller, InodeRecord& inode, const Wish& wish) {
  uint64_t size = wish.op.getSize();
  if (wish.has(ONLY_GROW)) {
    size = std::max(size, inode.size);
  }
  uint64_t sizeBefore = inode.size;
  uint64_t allocatedBefore = inode.allocated;
  if (size == 0) {  // even of an empty file: bytes written before this, of which no size told yet, must not come back
    reclaimObject(execution, inode, true);
    inode.object = ObjectId{execution.head.nextObject++};
    inode.movedFrom = ObjectId{};
    inode.generation = 0;
    inode.largestSize = 0;
    inode.cuts.clear();
    inode.allocated = 0;
  } else if (size < inode.size) {
    if (!addCut(execution, inode, size)) {
      return false;
    }
    uint64_t blocks = size / BLOCK_BYTES + (size % BLOCK_BYTES != 0);
    inode.allocated = std::min(inode.allocated, blocks * BLOCK_BYTES);
  }
  execution.head.allocated -= allocatedBefore - inode.allocated;
  if (size != inode.size) {
    inode.modified = execution.now();
  }
  inode.size = size;
  resized(execution, inode, sizeBefore, allocatedBefore);
  inode.largestSize = std::max(inode.largestSize, size);
  if (!caller.isRoot()) {
    dropPrivileges(execution, inode);
  }
  return true;
}

// What of a growth the session's grant has paid.
Result<uint64_t> payGrowth(Execution& execution, SessionId session, const InodeRecord& inode, const Wish& wish) {
  bool grows = wish.has(SIZE) && wish.op.getSize() > inode.size;
  uint64_t growth = grows ? wish.op.getSize() - inode.size : 0;
  return chargeGrowth(execution, session, inode.parent, growth, wish.op.getGranted());
}

void keepInStep(InodeRecord& inode) {
  if (!inode.accessAcl.empty()) {
    Acl acl = Acl::stored(inode.accessAcl);
    acl.setPermissions(inode.mode);
    inode.accessAcl = acl.value();
  }
}

void setOwner(Execution& execution, const Credentials& caller, InodeRecord& inode, const Wish& wish) {
  if (wish.has(UID)) {
    inode.uid = wish.op.getUid();
  }
  if (wish.has(GID)) {
    inode.gid = wish.op.getGid();
  }
  if (wish.has(MODE)) {
    uint32_t mode = wish.op.getMode() & 07777;
    if (!caller.isRoot() && !caller.inGroup(inode.gid)) {
      mode &= ~static_cast<uint32_t>(S_ISGID);
    }
    inode.mode = (inode.mode & S_IFMT) | mode;
    keepInStep(inode);
  }
  if (wish.has(UID | GID) && !S_ISDIR(inode.mode)) {
    dropPrivileges(execution, inode);
    if (!caller.isRoot() && !caller.inGroup(inode.gid)) {
      inode.mode &= ~static_cast<uint32_t>(S_ISGID);
    }
  }
}

void setTimes(Execution& execution, InodeRecord& inode, const Wish& wish) {
  if (wish.has(ACCESSED)) {
    inode.accessed = readTime(wish.op.getAccessed());
  }
  if (wish.has(ACCESSED_NOW)) {
    inode.accessed = execution.now();
  }
  if (wish.has(MODIFIED)) {
    inode.modified = readTime(wish.op.getModified());
  }
  if (wish.has(MODIFIED_NOW)) {
    inode.modified = execution.now();
  }
}

}  // namespace

Status setAttributes(Execution& execution, const Requester& client, wire::SetAttributes::Reader op,
                     wire::Reply::Builder reply) {
  InodeRecord inode;
  auto reached = reach(execution.store, InodeId{op.getInode()}, inode);
  if (!reached.ok()) {
    return reached;
  }
  Wish wish{op, op.getWhich()};
  auto allowed = maySet(client.caller, inode, wish);
  if (!allowed.ok()) {
    return allowed;
  }
  auto paid = payGrowth(execution, client.session, inode, wish);
  if (!paid.ok()) {
    return paid.error();
  }
  if (paid.value() > 0) {
    reply.initCharged(1).set(0, paid.value());
  }
  if (wish.has(SIZE) && !resize(execution, client.caller, inode, wish)) {
    return Error{EAGAIN, "as many cuts as a layout can hold wait for the chunkservers; try again"};
  }
  setOwner(execution, client.caller, inode, wish);
  setTimes(execution, inode, wish);
  if (wish.which != 0) {
    inode.changed = execution.now();
    save(execution, inode);
  }
  writeAttributes(execution, inode, reply.initAttributes());
  return {};
}

void dropPrivileges(Execution& execution, InodeRecord& inode) {
  inode.mode = withoutSetIds(inode.mode);
  if (inode.xattrs > 0) {
    eraseXattr(execution, inode, CAPABILITY_XATTR);
  }
}

}  // namespace cairn
