// unlink and rmdir: a name goes, and with the last one the inode.
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
  if (victim.links == 0) {
    loseLastName(execution, client, victim);
  } else {
    save(execution, victim);
  }
  save(execution, parent);
  writeAttributes(victim, reply.initAttributes());
  writeAttributes(parent, reply.initParent());
  return {};
}

}  // namespace cairn
