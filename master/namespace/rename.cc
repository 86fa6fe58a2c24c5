// rename, with RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

constexpr uint32_t NOREPLACE = 1;
constexpr uint32_t EXCHANGE = 2;
constexpr uint32_t WHITEOUT = 4;

// What a rename is about, gathered while it is checked.
struct Move {
  uint32_t flags = 0;
  std::string_view oldName;
  std::string_view newName;
  InodeRecord from;  // directories
  InodeRecord into;
  bool within = false;  // from and into are one: then only `from` counts
  Entry oldEntry;
  Entry newEntry;
  InodeRecord source;
  InodeRecord target;
  bool replaces = false;  // newEntry and target are there
  bool nothing = false;   // both names are of one file

  bool has(uint32_t flag) const { return (flags & flag) != 0; }
  InodeRecord& destination() { return within ? from : into; }
};

// Whether `ancestor` is `of` or stands above it.
bool isAbove(const Store& store, InodeId ancestor, InodeId of) {
  InodeRecord step;
  for (InodeId at = of;; at = step.parent) {
    if (at == ancestor) {
      return true;
    }
    if (at == ROOT_INODE || !find(store, at, step)) {
      return false;
    }
  }
}

Status findBoth(Execution& execution, const Requester& client, wire::Op::Rename::Reader op, Move& move) {
  move.flags = op.getFlags();
  if ((move.flags & ~(NOREPLACE | EXCHANGE | WHITEOUT)) != 0 ||
      (move.has(EXCHANGE) && move.has(NOREPLACE | WHITEOUT))) {
    return Error{EINVAL, "flags that don't go together"};
  }
  auto entered = enter(execution.store, client.caller, InodeId{op.getParent()}, move.from);
  if (!entered.ok()) {
    return entered;
  }
  entered = enter(execution.store, client.caller, InodeId{op.getNewParent()}, move.into);
  if (!entered.ok()) {
    return entered;
  }
  move.within = move.from.id == move.into.id;
  if (isDots(move.oldName)) {
    return Error{EBUSY, {}};
  }
  if (isDots(move.newName)) {
    return Error{move.has(NOREPLACE) ? EEXIST : EBUSY, {}};
  }
  auto named = checkName(move.oldName);
  if (!named.ok()) {
    return named;
  }
  bool present = find(execution.store, move.from.id, move.oldName, move.oldEntry);
  if (!present) {
    return Error{ENOENT, {}};
  }
  named = checkName(move.newName);
  if (!named.ok()) {
    return named;
  }
  move.replaces = find(execution.store, move.into.id, move.newName, move.newEntry);
  KJ_ASSERT(find(execution.store, move.oldEntry.inode, move.source), "a name without an inode");
  KJ_ASSERT(!move.replaces || find(execution.store, move.newEntry.inode, move.target), "a name without an inode");
  return {};
}

// No directory may come to stand below itself.
Status checkLoops(Execution& execution, const Move& move) {
  if (move.within) {
    return {};
  }
  if (S_ISDIR(move.source.mode) && isAbove(execution.store, move.source.id, move.into.id)) {
    return Error{EINVAL, "a directory can't move below itself"};
  }
  if (move.replaces && S_ISDIR(move.target.mode) && isAbove(execution.store, move.target.id, move.from.id)) {
    return Error{move.has(EXCHANGE) ? EINVAL : ENOTEMPTY, {}};
  }
  return {};
}

Status checkTarget(const Requester& client, Move& move) {
  if (!move.replaces) {
    return mayAdd(client.caller, move.destination());
  }
  bool wantDirectory = S_ISDIR(move.has(EXCHANGE) ? move.target.mode : move.source.mode);
  return mayTake(client.caller, move.destination(), move.target, wantDirectory);
}

// What goes from one quota to another is copied, so that nothing grows past a limit at once.
Status withinQuota(Execution& execution, const Move& move) {
  if (!move.within && quotaAbove(execution, move.from.id) != quotaAbove(execution, move.into.id)) {
    return Error{EXDEV, "it would come below another quota"};
  }
  return move.has(WHITEOUT) ? fits(execution, move.from.id, {0, 0, 1, 0}) : Status();
}

Status mayRename(Execution& execution, const Requester& client, wire::Op::Rename::Reader op, Move& move) {
  auto found = findBoth(execution, client, op, move);
  if (!found.ok()) {
    return found;
  }
  if (move.has(NOREPLACE) && move.replaces) {
    return Error{EEXIST, {}};
  }
  if (move.has(EXCHANGE) && !move.replaces) {
    return Error{ENOENT, {}};
  }
  auto loops = checkLoops(execution, move);
  if (!loops.ok()) {
    return loops;
  }
  if (move.replaces && move.source.id == move.target.id) {
    move.nothing = true;
    return {};
  }
  auto taken = mayTake(client.caller, move.from, move.source, S_ISDIR(move.source.mode));
  if (!taken.ok()) {
    return taken;
  }
  auto target = checkTarget(client, move);
  if (!target.ok()) {
    return target;
  }
  // Moving a directory changes its "..".
  bool sourceBlocked = S_ISDIR(move.source.mode) && !may(client.caller, move.source, MAY_WRITE);
  bool targetBlocked = move.has(EXCHANGE) && S_ISDIR(move.target.mode) && !may(client.caller, move.target, MAY_WRITE);
  if (!move.within && (sourceBlocked || targetBlocked)) {
    return Error{EACCES, {}};
  }
  bool filled = move.replaces && !move.has(EXCHANGE) && S_ISDIR(move.target.mode) && move.target.entries > 0;
  return filled ? Status(Error{ENOTEMPTY, {}}) : withinQuota(execution, move);
}

void reparent(InodeRecord& directory, InodeRecord& from, InodeRecord& into) {
  if (S_ISDIR(directory.mode) && from.id != into.id) {
    directory.parent = into.id;
    --from.links;
    ++into.links;
  }
}

void exchange(Execution& execution, Move& move) {
  InodeRecord& into = move.destination();
  moveName(execution, move.source, move.from.id, into.id, move.newName);
  moveName(execution, move.target, into.id, move.from.id, move.oldName);
  replaceEntry(execution, move.from, move.oldName, move.oldEntry, move.target);
  replaceEntry(execution, into, move.newName, move.newEntry, move.source);
  reparent(move.source, move.from, into);
  reparent(move.target, into, move.from);
  move.target.changed = execution.now();
  save(execution, move.target);
}

void removeTarget(Execution& execution, const Requester& client, Move& move) {
  move.target.changed = execution.now();
  if (S_ISDIR(move.target.mode)) {
    move.target.links = 0;
    --move.destination().links;
  } else {
    --move.target.links;
  }
  loseName(execution, move.target, move.destination().id);
  if (move.target.links == 0) {
    loseLastName(execution, client, move.target, {move.destination(), move.newName});
  } else {
    save(execution, move.target);
  }
}

InodeRecord makeWhiteout(Execution& execution, const Requester& client, const InodeRecord& directory,
                         std::string_view name) {
  InodeRecord whiteout;
  whiteout.id = InodeId{execution.head.nextInode++};
  whiteout.mode = S_IFCHR;
  whiteout.uid = client.caller.uid();
  whiteout.gid = (directory.mode & S_ISGID) != 0 ? directory.gid : client.caller.gid();
  whiteout.links = 1;
  whiteout.accessed = whiteout.modified = whiteout.changed = whiteout.created = execution.now();
  whiteout.madeAt = execution.head.index;
  ++execution.head.inodes;
  gainName(execution, whiteout, directory.id, name);
  save(execution, whiteout);
  return whiteout;
}

void transfer(Execution& execution, const Requester& client, Move& move) {
  InodeRecord& into = move.destination();
  moveName(execution, move.source, move.from.id, into.id, move.newName);
  if (move.has(WHITEOUT)) {
    auto whiteout = makeWhiteout(execution, client, move.from, move.oldName);
    replaceEntry(execution, move.from, move.oldName, move.oldEntry, whiteout);
  } else {
    removeEntry(execution, move.from, move.oldName, move.oldEntry);
  }
  if (move.replaces) {
    replaceEntry(execution, into, move.newName, move.newEntry, move.source);
    removeTarget(execution, client, move);
  } else {
    addEntry(execution, into, move.newName, move.source);
  }
  reparent(move.source, move.from, into);
}

}  // namespace

Status rename(Execution& execution, const Requester& client, wire::Op::Rename::Reader op, wire::Reply::Builder reply) {
  Move move;
  move.oldName = viewOf(op.getName());
  move.newName = viewOf(op.getNewName());
  auto allowed = mayRename(execution, client, op, move);
  if (!allowed.ok()) {
    return allowed;
  }
  if (!move.nothing) {
    if (move.has(EXCHANGE)) {
      exchange(execution, move);
    } else {
      transfer(execution, client, move);
    }
    move.source.changed = execution.now();
    save(execution, move.source);
    save(execution, move.from);
    if (!move.within) {
      save(execution, move.into);
    }
  }
  writeAttributes(execution, move.source, reply.initAttributes());
  writeAttributes(execution, move.from, reply.initParent());
  writeAttributes(execution, move.destination(), reply.initNewParent());
  if (move.replaces) {
    writeAttributes(execution, move.target, reply.initReplaced());
  }
  return {};
}

}  // namespace cairn
