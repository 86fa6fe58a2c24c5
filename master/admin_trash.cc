#include "master/admin_trash.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "common/log.h"
#include "master/namespace/trash.h"
#include "master/propose.h"
#include "master/touched.h"

namespace cairn {
namespace {

constexpr size_t LIST_MAX = 1000;          // items in one answer
constexpr size_t LOOKED_AT_MAX = 4096;     // for them
constexpr size_t SUMMED_MAX = 20000;       // items that are added up for one answer
constexpr size_t TREE_MAX = 1 << 20;       // items of a tree that come back
constexpr size_t CHILDREN_AT_ONCE = 1024;

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::StringPtr(text.c_str(), text.size()).asBytes();
}

std::string textOf(capnp::Data::Reader data) { return {data.asChars().begin(), data.size()}; }

Task<void> becomeCurrent(Core& core) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
}

// It went when its directory was being emptied for the last time, and that is in the trash too: they belong together.
bool isPartOfTree(const NamespaceReader& reader, const TrashItem& item) {
  auto parent = reader.record(item.parent);
  return parent && parent->links == 0 && parent->trashItem != 0 && parent->nextCookie == item.era;
}

// Calls `each` for the items that belong to a directory of the trash, those nearest to it first, of equals the newest;
// at most `max`.
void eachOfTree(const NamespaceReader& reader, const TrashItem& top, size_t max,
                kj::FunctionParam<void(const TrashItem&)> each) {
  std::deque<InodeId> directories;
  if (S_ISDIR(top.mode)) {
    directories.push_back(top.inode);
  }
  for (size_t count = 0; !directories.empty() && count < max; directories.pop_front()) {
    auto directory = reader.record(directories.front());
    std::vector<TrashItem> items;
    for (uint64_t after = 0; directory && items.size() < max;) {
      auto some = reader.trashOf(directory->id, after, CHILDREN_AT_ONCE);
      if (some.empty()) {
        break;
      }
      after = some.back().id;
      std::copy_if(some.begin(), some.end(), std::back_inserter(items),
                   [&](const TrashItem& item) { return item.era == directory->nextCookie; });
    }
    for (auto item = items.rbegin(); item != items.rend() && count < max; ++item, ++count) {
      each(*item);
      if (S_ISDIR(item->mode)) {
        directories.push_back(item->inode);
      }
    }
  }
}

std::string pathOf(const NamespaceReader& reader, const TrashItem& item) {
  auto directory = reader.pathOf(item.parent);
  std::string above = directory.ok() ? directory.value() : "(gone)";
  return (above == "/" ? "" : above) + "/" + item.name;
}

void write(const NamespaceReader& reader, const TrashItem& item, size_t& summed, wire::TrashItem::Builder out) {
  out.setId(item.id);
  out.setInode(raw(item.inode));
  out.setPath(bytesOf(pathOf(reader, item)));
  out.setDirectory(S_ISDIR(item.mode));
  out.setDeleted(item.deletedSeconds);
  out.setExpires(static_cast<int64_t>(expiresSeconds(item.id)));
  uint64_t bytes = item.bytes;
  uint64_t files = item.files;
  eachOfTree(reader, item, SUMMED_MAX - std::min(SUMMED_MAX, summed), [&](const TrashItem& below) {
    bytes += below.bytes;
    files += below.files;
    ++summed;
  });
  out.setBytes(bytes);
  out.setFiles(files);
}

// Where something that comes back is seen first: directories that come back with it are seen by nobody yet.
struct Place {
  InodeId parent{};
  std::string name;
};

Place firstSeen(const NamespaceReader& reader, Place place) {
  for (auto parent = reader.record(place.parent); parent && parent->links == 0; parent = reader.record(place.parent)) {
    auto item = reader.trashItem(parent->trashItem);
    if (!item) {
      break;
    }
    place = {item->parent, item->name};
  }
  return place;
}

// `to` 0: to its own place. To all others it is as if something were made there.
Task<Status> restoreOne(Core& core, uint64_t id, Place to) {
  auto& reader = core.replica.reader();
  auto item = reader.trashItem(id);
  if (!item) {
    co_return Error{ENOENT, "there is no such item in the trash (any more)"};
  }
  Place place = firstSeen(reader, raw(to.parent) != 0 ? to : Place{item->parent, item->name});
  capnp::MallocMessageBuilder message;
  auto op = message.initRoot<wire::Op>();
  op.initMake().setParent(raw(place.parent));
  op.getMake().setName(bytesOf(place.name));
  co_await core.quotas.makeRoom(place.parent, item->bytes);
  auto plan = NameGate::planOf(op.asReader());
  Leases::Change change(core.sessions.leases(), SessionId{});
  addTouched(op.asReader(), reader, change);
  while (change.mustRecall()) {
    co_await change.recall();
  }
  NameGate::Pass pass(core.names, plan);
  auto fill = [&](wire::Command::Builder command) {
    auto restore = command.initTrashChange().initRestore();
    restore.setItem(id);
    restore.setParent(raw(to.parent));
    restore.setName(bytesOf(to.name));
  };
  auto applied = co_await propose(core.replica, fill);
  co_return outcomeOf(applied);
}

// The directory that a path's last name is in, and that name.
Result<Place> placeOf(const NamespaceReader& reader, std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  size_t slash = path.rfind('/');
  capnp::MallocMessageBuilder message;
  auto attributes = message.initRoot<wire::Attributes>();
  std::string above = slash == path.npos ? "" : path.substr(0, slash);
  auto found = reader.resolve(above, attributes);
  if (!found.ok()) {
    return found.error();
  }
  if (!S_ISDIR(attributes.getMode())) {
    return Error{ENOTDIR, above + " is no directory"};
  }
  return Place{InodeId{attributes.getInode()}, slash == path.npos ? path : path.substr(slash + 1)};
}

Task<Status> purgeSome(Core& core, std::vector<uint64_t> ids) {
  auto fill = [&](wire::Command::Builder command) {
    auto list = command.initTrashChange().initPurge(static_cast<unsigned>(ids.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list.set(i, ids[i]);
    }
  };
  auto applied = co_await propose(core.replica, fill);
  co_return outcomeOf(applied);
}

}  // namespace

Task<void> listTrash(Core& core, TrashCall context) {
  co_await becomeCurrent(core);
  auto& reader = core.replica.reader();
  uint64_t after = context.getParams().getAfter();
  size_t most = std::min<size_t>(context.getParams().getItemsMax(), LIST_MAX);
  std::vector<TrashItem> shown;
  auto items = reader.trash(after, LOOKED_AT_MAX);
  bool end = items.size() < LOOKED_AT_MAX;
  for (auto& item : items) {
    if (shown.size() >= most) {
      end = false;
      break;
    }
    if (!isPartOfTree(reader, item)) {
      shown.push_back(item);
    }
  }
  if (!end && shown.empty() && !items.empty()) {
    shown.push_back(items.back());  // so that the caller gets on
  }
  auto out = context.getResults().initItems(static_cast<unsigned>(shown.size()));
  size_t summed = 0;
  for (unsigned i = 0; i < out.size(); ++i) {
    write(reader, shown[i], summed, out[i]);
  }
  context.getResults().setEnd(end);
}

// A directory's tree comes back name by name; older things of the same name stay in the trash.
Task<void> restoreTrash(Core& core, RestoreTrashCall context) {
  co_await becomeCurrent(core);
  auto params = context.getParams();
  auto outcome = context.getResults().initOutcome();
  auto& reader = core.replica.reader();
  auto top = reader.trashItem(params.getItem());
  if (!top) {
    setOutcome(Error{ENOENT, "there is no such item in the trash (any more)"}, outcome);
    co_return;
  }
  Place to;
  if (params.getTo().size() > 0) {
    auto found = placeOf(reader, textOf(params.getTo()));
    if (!found.ok()) {
      setOutcome(found.error(), outcome);
      co_return;
    }
    to = found.value();
  }
  std::vector<uint64_t> tree;
  eachOfTree(reader, *top, TREE_MAX, [&](const TrashItem& item) { tree.push_back(item.id); });
  auto path = raw(to.parent) != 0 ? textOf(params.getTo()) : pathOf(reader, *top);
  auto restored = co_await restoreOne(core, top->id, to);
  setOutcome(restored, outcome);
  if (!restored.ok()) {
    co_return;
  }
  context.getResults().setPath(bytesOf(path));
  Place own;
  for (uint64_t id : tree) {
    auto below = co_await restoreOne(core, id, own);
    if (!below.ok() && below.code() != EEXIST && below.code() != ENOENT) {
      setOutcome(below, outcome);
      co_return;
    }
  }
}

Task<void> purgeTrash(Core& core, PurgeTrashCall context) {
  co_await becomeCurrent(core);
  auto& reader = core.replica.reader();
  auto params = context.getParams();
  auto outcome = context.getResults().initOutcome();
  if (params.getItem() != 0) {
    std::vector<uint64_t> one{params.getItem()};
    auto purged = co_await purgeSome(core, kj::mv(one));
    setOutcome(purged, outcome);
    context.getResults().setItems(purged.ok() ? 1 : 0);
    co_return;
  }
  auto age = static_cast<int64_t>(std::min<uint64_t>(params.getOlderThanSeconds(), INT32_MAX));
  int64_t latest = reader.nowSeconds() - age;
  uint64_t count = 0;
  uint64_t after = 0;
  for (;;) {
    auto items = reader.trash(after, TRASH_PURGE_MAX);
    if (items.empty()) {
      break;
    }
    after = items.back().id;
    std::vector<uint64_t> ids;
    for (auto& item : items) {
      if (item.deletedSeconds <= latest) {
        ids.push_back(item.id);
      }
    }
    if (ids.empty()) {
      continue;
    }
    size_t here = ids.size();
    auto purged = co_await purgeSome(core, kj::mv(ids));
    if (!purged.ok() && purged.code() != ENOENT) {
      setOutcome(purged, outcome);
      break;
    }
    count += here;
  }
  context.getResults().setItems(count);
}

Task<void> setTrash(Core& core, SetTrashCall context) {
  co_await becomeCurrent(core);
  auto params = context.getParams();
  auto results = context.getResults();
  auto attributes = kj::heap<capnp::MallocMessageBuilder>();
  auto found = attributes->initRoot<wire::Attributes>();
  auto resolved = core.replica.reader().resolve(textOf(params.getPath()), found);
  if (!resolved.ok()) {
    setOutcome(resolved, results.initOutcome());
    co_return;
  }
  uint64_t inode = found.getInode();
  uint64_t seconds = params.getSeconds();
  auto fill = [inode, seconds](wire::Command::Builder command) {
    auto retention = command.initTrashChange().initRetention();
    retention.setInode(inode);
    retention.setSet(seconds != Account::AS_ABOVE);
    retention.setSeconds(seconds == Account::AS_ABOVE ? 0 : seconds);
  };
  auto applied = co_await propose(core.replica, fill);
  setOutcome(outcomeOf(applied), results.initOutcome());
}

}  // namespace cairn
