#include "master/namespace/trash.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "master/namespace/keys.h"
#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

constexpr uint32_t EMPTY_DIRECTORY_LINKS = 2;

uint64_t keepSeconds(Execution& execution, InodeId directory) {
  for (InodeId at = directory; raw(at) != 0;) {
    const Account* account = execution.accounts.find(at);
    if (account == nullptr) {
      break;
    }
    if (account->trashSeconds != Account::AS_ABOVE) {
      return account->trashSeconds;
    }
    at = account->parent;
  }
  return 0;
}

bool findItem(const Store& store, uint64_t id, TrashItem& out) {
  std::string value;
  if (!store.get(keys::trash(id), value)) {
    return false;
  }
  decode(value, out);
  out.id = id;
  return true;
}

// Out of the trash's books. The inode is the caller's.
void takeOut(Execution& execution, const TrashItem& item) {
  execution.store.erase(keys::trash(item.id));
  execution.store.erase(keys::trashOf(item.parent, item.id));
  --execution.head.trashItems;
  execution.head.trashAllocated -= item.allocated;
}

TrashItem itemOf(Execution& execution, const InodeRecord& inode, const InodeRecord& directory, std::string_view name,
                 uint64_t seconds) {
  TrashItem item;
  item.inode = inode.id;
  item.parent = directory.id;
  item.name = name;
  item.era = directory.nextCookie;
  item.deletedSeconds = execution.now().seconds;
  item.keepSeconds = seconds;
  item.mode = inode.mode;
  item.links = S_ISDIR(inode.mode) ? EMPTY_DIRECTORY_LINKS : 1;
  item.bytes = S_ISREG(inode.mode) ? inode.size : 0;
  item.allocated = inode.allocated;
  item.files = 1;
  return item;
}

bool gaveAnything(const Store& store, const Head& head, InodeId directory) {
  return head.trashItems > 0 && store.scan(keys::trashOf(directory)).valid();
}

void letLoose(Execution& execution, const InodeRecord& directory) {
  execution.store.put(keys::looseTree(directory.id), encodeNumber(0));
  ++execution.head.looseTrees;
  save(execution, directory);
}

// ---- the end of things ----

void purge(Execution& execution, const TrashItem& item) {
  InodeRecord inode;
  KJ_ASSERT(find(execution.store, item.inode, inode), "the trash keeps what isn't there", raw(item.inode));
  takeOut(execution, item);
  inode.trashItem = 0;
  if (S_ISDIR(inode.mode)) {
    freeDirectory(execution, inode);
  } else {
    freeInode(execution, inode, false);
  }
}

Status purgeAll(Execution& execution, capnp::List<uint64_t>::Reader ids) {
  if (ids.size() > TRASH_PURGE_MAX) {
    return Error{E2BIG, "too many items in one entry"};
  }
  bool any = false;
  for (uint64_t id : ids) {
    TrashItem item;
    if (findItem(execution.store, id, item)) {
      purge(execution, item);
      any = true;
    }
  }
  return any ? Status() : Status(Error{ENOENT, "it is not in the trash (any more)"});
}

struct Name {
  std::string name;
  Entry entry;
};

std::vector<Name> someNames(const Store& store, InodeId directory, uint64_t from, size_t max) {
  std::vector<Name> found;
  auto at = store.scan(keys::cookies(directory));
  for (at.seek(keys::cookie(directory, from)); at.valid() && found.size() < max; at.next()) {
    Position position;
    decode(at.value(), position);
    uint64_t cookie = keys::numberAt(at.key(), keys::IN_DIRECTORY);
    found.push_back({std::move(position.name), {position.inode, position.mode, cookie}});
  }
  return found;
}

// A file goes as if it were unlinked; a directory comes loose itself.
void takeApart(Execution& execution, InodeRecord& directory, const Name& name) {
  InodeRecord child;
  KJ_ASSERT(find(execution.store, name.entry.inode, child), "a name without an inode", raw(name.entry.inode));
  removeEntry(execution, directory, name.name, name.entry);
  child.changed = execution.now();
  child.links = S_ISDIR(child.mode) ? 0 : child.links - 1;
  loseName(execution, child, directory.id);
  if (child.links > 0) {
    save(execution, child);
  } else if (S_ISDIR(child.mode)) {
    freeDirectory(execution, child);
  } else {
    freeInode(execution, child, false);
  }
}

void purgeSomeOf(Execution& execution, InodeId directory, size_t max) {
  std::vector<uint64_t> items;
  for (auto at = execution.store.scan(keys::trashOf(directory)); at.valid() && items.size() < max; at.next()) {
    items.push_back(keys::numberAt(at.key(), keys::SECOND_ID));
  }
  for (uint64_t number : items) {
    TrashItem item;
    KJ_ASSERT(findItem(execution.store, number, item), "the trash of a directory names what isn't there", number);
    purge(execution, item);
  }
}

// Some of what a loose directory has, and the directory with the last of it. Where it left off is noted, for looking
// for the first name that is left would wade through all that are gone.
Status takeApartSome(Execution& execution, InodeId id) {
  InodeRecord directory;
  std::string value;
  auto key = keys::looseTree(id);
  if (!execution.store.get(key, value) || !find(execution.store, id, directory)) {
    return Error{ENOENT, "that tree is gone already"};
  }
  auto names = someNames(execution.store, id, decodeNumber(value), TAKE_APART_MAX);
  for (const auto& name : names) {
    takeApart(execution, directory, name);
  }
  if (execution.head.trashItems > 0) {
    purgeSomeOf(execution, id, TAKE_APART_MAX - names.size());
  }
  if (directory.entries > 0 || gaveAnything(execution.store, execution.head, id)) {
    save(execution, directory);
    execution.store.put(key, encodeNumber(names.empty() ? decodeNumber(value) : names.back().entry.cookie + 1));
    return {};
  }
  execution.store.erase(key);
  --execution.head.looseTrees;
  freeInode(execution, directory, false);
  return {};
}

// ---- back again ----

// A thing of the trash and where it goes.
struct Return {
  TrashItem item;
  InodeRecord inode;
  InodeId parent{};
  std::string name;
};

Status findReturn(Execution& execution, uint64_t id, Return& out) {
  if (!findItem(execution.store, id, out.item)) {
    return Error{ENOENT, "it is not in the trash (any more)"};
  }
  KJ_ASSERT(find(execution.store, out.item.inode, out.inode), "the trash keeps what isn't there", id);
  out.parent = out.item.parent;
  out.name = out.item.name;
  return {};
}

// What stands above `at` and is in the trash itself must come back first: appends it, the lowest first.
Status findAbove(Execution& execution, InodeId at, std::vector<Return>& out) {
  InodeRecord directory;
  for (; at != ROOT_INODE; at = directory.parent) {
    if (!find(execution.store, at, directory) || !S_ISDIR(directory.mode)) {
      return Error{ENOENT, "the directory that it was in is gone; name another place for it"};
    }
    if (directory.links > 0) {
      continue;
    }
    if (directory.trashItem == 0) {
      return Error{ENOENT, "the directory that it was in is going; name another place for it"};
    }
    if (directory.trashItem == out.front().item.id) {
      return Error{EINVAL, "a directory can't come back below itself"};
    }
    auto found = findReturn(execution, directory.trashItem, out.emplace_back());
    if (!found.ok()) {
      return found;
    }
  }
  return {};
}

void comeBack(Execution& execution, Return& thing) {
  InodeRecord parent;
  KJ_ASSERT(find(execution.store, thing.parent, parent), "a directory went while something came back to it");
  takeOut(execution, thing.item);
  thing.inode.trashItem = 0;
  thing.inode.links = thing.item.links;
  thing.inode.changed = execution.now();
  if (S_ISDIR(thing.inode.mode)) {
    thing.inode.parent = parent.id;
    ++parent.links;
  }
  addEntry(execution, parent, thing.name, thing.inode);
  gainName(execution, thing.inode, parent.id, thing.name);
  save(execution, thing.inode);
  save(execution, parent);
}

// Each with those that come back below it.
Status fitBack(Execution& execution, const std::vector<Return>& things) {
  Charge sum;
  Status fit;
  for (auto thing = things.begin(); thing != things.end() && fit.ok(); ++thing) {
    Charge own = chargeOf(execution, thing->inode);
    sum.bytes += own.bytes;
    sum.files += own.files;
    sum.directories += own.directories;
    fit = fits(execution, thing->parent, sum);
  }
  return fit;
}

Status restore(Execution& execution, wire::TrashChange::Restore::Reader command, wire::Reply::Builder reply) {
  std::vector<Return> things(1);
  auto found = findReturn(execution, command.getItem(), things[0]);
  if (!found.ok()) {
    return found;
  }
  if (command.getParent() != 0) {
    things[0].parent = InodeId{command.getParent()};
    things[0].name = viewOf(command.getName());
    auto named = isDots(things[0].name) ? Status(Error{EINVAL, {}}) : checkName(things[0].name);
    if (!named.ok()) {
      return named;
    }
  }
  found = findAbove(execution, things[0].parent, things);
  if (!found.ok()) {
    return found;
  }
  for (const auto& thing : things) {
    Entry present;
    if (find(execution.store, thing.parent, thing.name, present)) {
      return Error{EEXIST, thing.name + ": something else has that name now; name another place for it"};
    }
  }
  auto fit = fitBack(execution, things);
  if (!fit.ok()) {
    return fit;
  }
  for (size_t i = things.size(); i-- > 0;) {
    comeBack(execution, things[i]);
  }
  InodeRecord back;
  KJ_ASSERT(find(execution.store, things[0].inode.id, back));
  writeAttributes(execution, back, reply.initAttributes());
  return {};
}

Status setRetention(Execution& execution, wire::TrashChange::Retention::Reader command) {
  InodeRecord directory;
  auto reached = reach(execution.store, InodeId{command.getInode()}, directory);
  if (!reached.ok()) {
    return reached;
  }
  const Account* found = execution.accounts.find(directory.id);
  if (!S_ISDIR(directory.mode) || found == nullptr) {
    return Error{ENOTDIR, "only of a directory can be said how long what is deleted in it is kept"};
  }
  if (command.getSeconds() > TRASH_SECONDS_MAX) {
    return Error{EINVAL, "more than ten years"};
  }
  Account account = *found;
  account.trashSeconds = command.getSet() ? command.getSeconds() : Account::AS_ABOVE;
  execution.accounts.put(directory.id, account);
  return {};
}

}  // namespace

std::optional<TrashItem> trashItemFor(Execution& execution, const InodeRecord& inode, const LostName& lost) {
  uint64_t seconds = keepSeconds(execution, lost.directory.id);
  if (seconds == 0) {
    return std::nullopt;
  }
  return itemOf(execution, inode, lost.directory, lost.name, seconds);
}

std::optional<TrashItem> takeWill(Execution& execution, InodeId inode) {
  std::string value;
  auto key = keys::will(inode);
  if (!execution.store.get(key, value)) {
    return std::nullopt;
  }
  execution.store.erase(key);
  TrashItem item;
  decode(value, item);
  return item;
}

void bury(Execution& execution, InodeRecord& inode, TrashItem item, bool inUse) {
  auto now = static_cast<uint64_t>(std::max<int64_t>(execution.now().seconds, 0));
  item.id = makeTrashId(now + item.keepSeconds, execution.head.nextQueueId++);
  if (S_ISREG(inode.mode)) {
    item.bytes = inode.size;
    item.allocated = inode.allocated;
    if (inUse) {  // some bytes may be there of which no size tells
      inode.largestSize = std::max<uint64_t>(inode.largestSize, 1);
    }
  }
  inode.trashItem = item.id;
  execution.store.put(keys::trash(item.id), encode(item));
  execution.store.put(keys::trashOf(item.parent, item.id), {});
  save(execution, inode);
  ++execution.head.trashItems;
  execution.head.trashAllocated += item.allocated;
}

void freeDirectory(Execution& execution, InodeRecord& directory) {
  if (directory.entries > 0 || gaveAnything(execution.store, execution.head, directory.id)) {
    letLoose(execution, directory);
  } else {
    freeInode(execution, directory, false);
  }
}

void detachTree(Execution& execution, InodeRecord& parent, std::string_view name, const Entry& entry,
                InodeRecord& victim) {
  uint64_t seconds = keepSeconds(execution, parent.id);
  auto item = itemOf(execution, victim, parent, name, seconds);
  const Account* account = execution.accounts.find(victim.id);
  item.links = victim.links;
  if (account != nullptr) {
    item.bytes = account->bytes;
    item.allocated = account->allocated;
    item.files += account->files + account->directories;
  }
  removeEntry(execution, parent, name, entry);
  --parent.links;
  victim.links = 0;
  victim.changed = execution.now();
  loseName(execution, victim, parent.id);
  if (seconds > 0) {
    bury(execution, victim, item, false);
  } else {
    freeDirectory(execution, victim);
  }
  save(execution, parent);
}

Status changeTrash(Execution& execution, wire::TrashChange::Reader command, wire::Reply::Builder reply) {
  switch (command.which()) {
    case wire::TrashChange::RESTORE:
      return restore(execution, command.getRestore(), reply);
    case wire::TrashChange::PURGE:
      return purgeAll(execution, command.getPurge());
    case wire::TrashChange::RETENTION:
      return setRetention(execution, command.getRetention());
    case wire::TrashChange::DETACH:
      break;  // a client's operation does that
    case wire::TrashChange::RECLAIM:
      return takeApartSome(execution, InodeId{command.getReclaim()});
  }
  return Error{EINVAL, "an unknown change of the trash"};
}

}  // namespace cairn
