// link: another name for a file.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

Status mayLink(Execution& execution, const Requester& client, wire::Op::Link::Reader op, InodeRecord& inode,
               InodeRecord& parent) {
  auto reached = reach(execution.store, InodeId{op.getInode()}, inode);
  if (!reached.ok()) {
    return reached;
  }
  auto entered = enter(execution.store, client.caller, InodeId{op.getParent()}, parent);
  if (!entered.ok()) {
    return entered;
  }
  auto name = viewOf(op.getName());
  auto named = checkName(name);
  if (!named.ok()) {
    return named;
  }
  Entry present;
  if (isDots(name) || find(execution.store, parent.id, name, present)) {
    return Error{EEXIST, {}};
  }
  auto allowed = mayAdd(client.caller, parent);
  if (!allowed.ok()) {
    return allowed;
  }
  if (S_ISDIR(inode.mode)) {
    return Error{EPERM, {}};
  }
  if (inode.links == 0 && !inode.linkable) {
    return Error{ENOENT, "the file has lost its last name"};
  }
  if (inode.links >= LINKS_MAX) {
    return Error{EMLINK, {}};
  }
  if (inode.links == 0) {
    return fits(execution, parent.id, chargeOf(execution, inode));
  }
  // It is charged once: another quota would know nothing of it.
  bool same = quotaAbove(execution, inode.parent) == quotaAbove(execution, parent.id);
  return same ? Status() : Status(Error{EXDEV, "the name would be below another quota than the file"});
}

}  // namespace

Status link(Execution& execution, const Requester& client, wire::Op::Link::Reader op, wire::Reply::Builder reply) {
  InodeRecord inode;
  InodeRecord parent;
  auto allowed = mayLink(execution, client, op, inode, parent);
  if (!allowed.ok()) {
    return allowed;
  }
  if (inode.linkable) {
    adopt(execution, inode);
  }
  ++inode.links;
  inode.changed = execution.now();
  addEntry(execution, parent, viewOf(op.getName()), inode);
  gainName(execution, inode, parent.id, viewOf(op.getName()));
  save(execution, inode);
  save(execution, parent);
  writeAttributes(execution, inode, reply.initAttributes());
  writeAttributes(execution, parent, reply.initParent());
  return {};
}

}  // namespace cairn
