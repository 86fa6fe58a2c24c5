// make: mknod, create, mkdir and symlink are one operation, and O_TMPFILE too.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/acl.h"
#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

Status checkType(const Credentials& caller, uint32_t mode, wire::Op::Make::Reader op) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
      return {};
    case S_IFCHR:
      // Device 0, 0 is a whiteout, which everybody may make.
      return caller.isRoot() || op.getDevice() == 0 ? Status() : Status(Error{EPERM, {}});
    case S_IFBLK:
      return caller.isRoot() ? Status() : Status(Error{EPERM, {}});
    case S_IFLNK: {
      auto target = op.getTarget();
      if (target.size() == 0) {
        return Error{ENOENT, "empty target"};
      }
      return target.size() > SYMLINK_BYTES_MAX ? Status(Error{ENAMETOOLONG, {}}) : Status();
    }
    default:
      return Error{EINVAL, "unknown file type"};
  }
}

InodeRecord newInode(Execution& execution, const Requester& client, const InodeRecord& parent, uint32_t mode) {
  InodeRecord inode;
  inode.id = InodeId{execution.head.nextInode++};
  bool setGid = (parent.mode & S_ISGID) != 0;
  inode.uid = client.caller.uid();
  inode.gid = setGid ? parent.gid : client.caller.gid();
  inode.mode = inheritedMode(client.caller, mode, parent.mode, parent.gid);
  inode.links = S_ISDIR(mode) ? 2 : 1;
  inode.accessed = inode.modified = inode.changed = inode.created = execution.now();
  inode.madeAt = execution.head.index;
  inode.cls = parent.cls;
  inode.chunkBits = parent.chunkBits;
  ++execution.head.inodes;
  return inode;
}

// The directory's default list comes in the place of the caller's umask.
void setPermissions(InodeRecord& inode, const InodeRecord& parent, uint32_t umask) {
  if (S_ISLNK(inode.mode)) {
    return;
  }
  if (parent.defaultAcl.empty()) {
    inode.mode &= ~(umask & uint32_t{ACCESSPERMS});
    return;
  }
  Acl acl = Acl::stored(parent.defaultAcl);
  inode.mode = acl.inherit(inode.mode);
  inode.accessAcl = acl.isMinimal() ? std::string() : acl.value();
  inode.defaultAcl = S_ISDIR(inode.mode) ? parent.defaultAcl : std::string();
}

uint32_t modeOf(wire::Op::Make::Reader op) {
  uint32_t type = op.getMode() & S_IFMT;
  switch (type) {
    case 0:
      return S_IFREG | (op.getMode() & 07777);
    case S_IFDIR:
      return S_IFDIR | (op.getMode() & 01777);
    case S_IFLNK:
      return S_IFLNK | 0777;
    default:
      return type | (op.getMode() & 07777);
  }
}

Status mayMakeUnnamed(const Credentials& caller, wire::Op::Make::Reader op, const InodeRecord& parent) {
  if (!S_ISREG(modeOf(op)) || !op.getHold()) {
    return Error{EINVAL, "only a regular file that is opened at once needs no name"};
  }
  return mayAdd(caller, parent);
}

Status mayMake(Execution& execution, const Requester& client, wire::Op::Make::Reader op, InodeRecord& parent,
               wire::Reply::Builder reply) {
  auto name = viewOf(op.getName());
  auto entered = enter(execution.store, client.caller, InodeId{op.getParent()}, parent);
  if (!entered.ok()) {
    return entered;
  }
  if (op.getUnnamed()) {
    return mayMakeUnnamed(client.caller, op, parent);
  }
  auto named = checkName(name);
  if (!named.ok()) {
    return named;
  }
  Entry present;
  InodeRecord inode;
  if (isDots(name)) {
    return Error{EEXIST, {}};
  }
  if (find(execution.store, parent.id, name, present)) {
    // The attributes spare an open(O_CREAT) of an existing file its lookup.
    if (find(execution.store, present.inode, inode)) {
      writeAttributes(execution, inode, reply.initAttributes());
    }
    return Error{EEXIST, {}};
  }
  auto allowed = mayAdd(client.caller, parent);
  if (allowed.ok()) {
    allowed = checkType(client.caller, modeOf(op), op);
  }
  return allowed.ok() ? fits(execution, parent.id, {0, 0, 1, 0}) : kj::mv(allowed);
}

}  // namespace

Status make(Execution& execution, const Requester& client, wire::Op::Make::Reader op, wire::Reply::Builder reply) {
  InodeRecord parent;
  auto allowed = mayMake(execution, client, op, parent, reply);
  if (!allowed.ok()) {
    return allowed;
  }
  InodeRecord inode = newInode(execution, client, parent, modeOf(op));
  setPermissions(inode, parent, op.getUmask());
  switch (inode.mode & S_IFMT) {
    case S_IFDIR:
      inode.parent = parent.id;
      inode.nextCookie = NamespaceReader::FIRST_COOKIE;
      ++parent.links;
      break;
    case S_IFREG:
      inode.object = ObjectId{execution.head.nextObject++};
      break;
    case S_IFLNK:
      inode.target = viewOf(op.getTarget());
      inode.size = inode.target.size();
      break;
    case S_IFCHR:
    case S_IFBLK:
      inode.device = op.getDevice();
      break;
    default:
      break;
  }
  if (op.getHold()) {
    inode.madeBy = client.session;
  }
  if (op.getUnnamed()) {
    inode.links = 0;
    inode.linkable = true;
    keepOrphan(execution, inode.id, client.session);
    save(execution, inode);
    execution.changes.made = inode.id;
    writeAttributes(execution, inode, reply.initAttributes());
    return {};
  }
  addEntry(execution, parent, viewOf(op.getName()), inode);
  gainName(execution, inode, parent.id, viewOf(op.getName()));
  save(execution, inode);
  save(execution, parent);
  execution.changes.made = inode.id;
  writeAttributes(execution, inode, reply.initAttributes());
  writeAttributes(execution, parent, reply.initParent());
  return {};
}

}  // namespace cairn
