// unlink and rmdir: a name goes, and with the last one the inode. detach: with a directory all that is below it.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/operations.h"

namespace cairn {

namespace {

Status mayUnlink(Execution& execution, const Requester& client, wire::Op::Unlink::Reader op, InodeRecord& parent,
                 Entry& entry, InodeRecord& victim) {
  auto entered = enter(execution.store, client.caller, InodeId{op.getParent()}, parent);
  if (!entered.ok()) {
    return entered;
  }
  auto name = viewOf(op.getName());
  if (isDots(name)) {
    int ofDirectory = name == "." ? EINVAL : ENOTEMPTY;
    return Error{op.getDirectory() ? ofDirectory : EISDIR, {}};
  }
  auto named = checkName(name);
  if (!named.ok()) {
    return named;
  }
  if (!find(execution.store, parent.id, name, entry)) {
    return Error{ENOENT, {}};
  }
  KJ_ASSERT(find(execution.store, entry.inode, victim), "a name without an inode", raw(entry.inode));
  auto allowed = mayTake(client.caller, parent, victim, op.getDirectory());
  if (!allowed.ok()) {
    return allowed;
  }
  return S_ISDIR(victim.mode) && victim.entries > 0 ? Status(Error{ENOTEMPTY, {}}) : Status();
}

}  // namespace

Status unlink(Execution& execution, const Requester& client, wire::Op::Unlink::Reader op, wire::Reply::Builder reply) {
  InodeRecord parent;
  Entry entry;
  InodeRecord victim;
  auto allowed = mayUnlink(execution, client, op, parent, entry, victim);
  if (!allowed.ok()) {
    return allowed;
  }
  removeEntry(execution, parent, viewOf(op.getName()), entry);
  victim.changed = execution.now();
  if (S_ISDIR(victim.mode)) {
    victim.links = 0;
    --parent.links;
  } else {
    --victim.links;
  }
  loseName(execution, victim, parent.id);
  if (victim.links == 0) {
    loseLastName(execution, client, victim, {parent, viewOf(op.getName())});
  } else {
    save(execution, victim);
  }
  save(execution, parent);
  writeAttributes(execution, victim, reply.initAttributes());
  writeAttributes(execution, parent, reply.initParent());
  return {};
}

// Nobody looks at what is below: whoever owns the directory could move it out of everybody's sight as well.
Status detach(Execution& execution, const Requester& client, wire::Op::Detach::Reader op, wire::Reply::Builder reply) {
  InodeRecord parent;
  auto entered = enter(execution.store, client.caller, InodeId{op.getParent()}, parent);
  if (!entered.ok()) {
    return entered;
  }
  auto name = viewOf(op.getName());
  auto named = isDots(name) ? Status(Error{EINVAL, {}}) : checkName(name);
  if (!named.ok()) {
    return named;
  }
  Entry entry;
  if (!find(execution.store, parent.id, name, entry)) {
    return Error{ENOENT, {}};
  }
  InodeRecord victim;
  KJ_ASSERT(find(execution.store, entry.inode, victim), "a name without an inode", raw(entry.inode));
  auto allowed = mayTake(client.caller, parent, victim, S_ISDIR(victim.mode));
  if (!allowed.ok()) {
    return allowed;
  }
  if (!S_ISDIR(victim.mode)) {
    return Error{ENOTDIR, "only a directory is detached"};
  }
  if (!client.caller.owns(victim)) {
    return Error{EPERM, "only its owner detaches a directory with all that is in it"};
  }
  detachTree(execution, parent, name, entry, victim);
  writeAttributes(execution, victim, reply.initAttributes());
  writeAttributes(execution, parent, reply.initParent());
  return {};
}

}  // namespace cairn
