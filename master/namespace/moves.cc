// Files on their way into another replication class: their bytes are copied into a fresh object of that class, which
// takes the place of the old one in one entry. Both are sealed meanwhile: the new one until it is the file's, so that
// only what copies may write to it; the old one from before the last look at it until its chunks are gone.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {

constexpr size_t EXCEPT_MAX = 1024;  // of one task

bool findMove(const Store& store, InodeId inode, MoveItem& out) {
  std::string value;
  if (!store.get(keys::move(inode), value)) {
    return false;
  }
  decode(value, out);
  out.inode = inode;
  return true;
}

void reclaim(Execution& execution, const ReclaimItem& item) {
  execution.store.put(keys::reclaim(execution.head.nextQueueId++), encode(item));
  execution.changes.queued = true;
}

// Nobody knows how far its copying has come.
void reclaimCopy(Execution& execution, const MoveItem& move) {
  reclaim(execution, {0, move.to, move.cls, UINT32_MAX, false});
}

void beginMove(Execution& execution, InodeRecord& inode, ClassId cls, uint64_t task) {
  MoveItem move;
  // With cuts the chunkservers are still to be told what is dead. And who knows the file by the object before the last
  // one would take it for truncated.
  bool settled = inode.cuts.empty() && execution.map.sealed.count(inode.movedFrom) == 0;
  if (!settled || findMove(execution.store, inode.id, move)) {
    return;
  }
  move.from = inode.object;
  move.to = ObjectId{execution.head.nextObject++};
  move.cls = cls;
  move.task = task;
  execution.store.put(keys::move(inode.id), encode(move));
  execution.changes.moves = true;
  seal(execution, move.to, true);
}

void countDone(Execution& execution, uint64_t id, uint64_t bytes) {
  std::string value;
  if (execution.store.get(keys::moveTask(id), value)) {
    MoveTask task;
    decode(value, task);
    ++task.filesDone;
    task.bytesDone += bytes;
    execution.store.put(keys::moveTask(id), encode(task));
  }
}

void finishMove(Execution& execution, InodeRecord& inode, const MoveItem& move, uint32_t chunks) {
  uint64_t chunksEnd = std::min(uint64_t{chunks} << inode.chunkBits, sizeMax(inode.chunkBits));
  inode.largestSize = std::max(inode.largestSize, chunksEnd);
  ReclaimItem left{0, move.from, inode.cls, std::max(chunkCount(inode.largestSize, inode.chunkBits), 1u), true};
  reclaim(execution, left);
  inode.object = move.to;
  inode.cls = move.cls;
  inode.movedFrom = move.from;
  save(execution, inode);
  execution.store.erase(keys::move(inode.id));
  execution.changes.moves = true;
  seal(execution, move.to, false);
  countDone(execution, move.task, inode.allocated);
}

// The directory is `above` or lies below it.
bool isBelow(const Store& store, InodeId id, InodeId above) {
  InodeRecord inode;
  while (id != above && id != ROOT_INODE && find(store, id, inode) && S_ISDIR(inode.mode)) {
    id = inode.parent;
  }
  return id == above;
}

// The last word on a file is the newest task's.
void giveWay(Execution& execution, InodeId root) {
  std::vector<std::pair<std::string, MoveTask>> older;
  for (auto at = execution.store.scan(keys::MOVE_TASKS); at.valid(); at.next()) {
    auto& task = older.emplace_back(std::string(at.key()), MoveTask());
    decode(at.value(), task.second);
  }
  for (auto& [key, task] : older) {
    if (isBelow(execution.store, task.root, root)) {
      execution.store.erase(key);
    } else if (task.except.size() < EXCEPT_MAX) {
      task.except.push_back(root);
      execution.store.put(key, encode(task));
    }
  }
}

}  // namespace

bool seal(Execution& execution, ObjectId object, bool sealed) {
  if (sealed == (execution.map.sealed.count(object) > 0)) {
    return false;
  }
  if (sealed) {
    execution.store.put(keys::seal(object), {});
    execution.map.sealed.insert(object);
  } else {
    execution.store.erase(keys::seal(object));
    execution.map.sealed.erase(object);
  }
  return true;
}

void dropMove(Execution& execution, InodeId inode) {
  MoveItem move;
  if (!findMove(execution.store, inode, move)) {
    return;
  }
  execution.store.erase(keys::move(inode));
  execution.changes.moves = true;
  seal(execution, move.from, false);
  seal(execution, move.to, false);
  reclaimCopy(execution, move);
  raiseMap(execution);
}

Status beginMoves(Execution& execution, wire::ClassChange::Begin::Reader command) {
  ClassId cls{command.getClass()};
  if (execution.map.classes.count(cls) == 0) {
    return Error{EINVAL, "there is no such replication class"};
  }
  bool sealed = false;
  for (uint64_t id : command.getInodes()) {
    InodeRecord inode;
    if (!find(execution.store, InodeId{id}, inode) || inode.cls == cls) {
      continue;
    }
    if (S_ISREG(inode.mode)) {  // an empty one too: bytes of which no size told yet may be on their way
      beginMove(execution, inode, cls, command.getTask());
      sealed = true;
    } else {
      inode.cls = cls;
      save(execution, inode);
    }
  }
  if (sealed) {
    raiseMap(execution);
  }
  return {};
}

Status sealMoves(Execution& execution, wire::ClassChange::Seal::Reader command) {
  bool changed = false;
  for (uint64_t id : command.getInodes()) {
    MoveItem move;
    if (findMove(execution.store, InodeId{id}, move)) {
      changed |= seal(execution, move.from, command.getOn());
    }
  }
  if (changed) {
    raiseMap(execution);
  }
  return {};
}

Status finishMoves(Execution& execution, capnp::List<wire::MoveEnd>::Reader ends) {
  bool any = false;
  for (auto end : ends) {
    InodeRecord inode;
    MoveItem move;
    bool sound = find(execution.store, InodeId{end.getInode()}, inode) &&
                 findMove(execution.store, inode.id, move) && move.to == ObjectId{end.getTo()} &&
                 execution.map.sealed.count(move.from) > 0;
    if (sound) {
      finishMove(execution, inode, move, end.getChunks());
      any = true;
    }
  }
  if (any) {
    raiseMap(execution);
  }
  return {};
}

Status dropMoves(Execution& execution, capnp::List<uint64_t>::Reader inodes) {
  for (uint64_t inode : inodes) {
    dropMove(execution, InodeId{inode});
  }
  return {};
}

Status beginMoveTask(Execution& execution, wire::MoveTask::Reader command) {
  if (execution.map.classes.count(ClassId{command.getClass()}) == 0) {
    return Error{EINVAL, "there is no such replication class"};
  }
  MoveTask task;
  task.root = InodeId{command.getInode()};
  task.cls = ClassId{command.getClass()};
  task.path = viewOf(command.getPath());
  giveWay(execution, task.root);
  execution.store.put(keys::moveTask(raw(execution.head.index)), encode(task));
  execution.changes.moves = true;
  return {};
}

Status endMoveTask(Execution& execution, uint64_t id) {
  if (!execution.store.has(keys::moveTask(id))) {
    return Error{ENOENT, "there is no such task (any more)"};
  }
  execution.store.erase(keys::moveTask(id));
  execution.changes.moves = true;
  return {};
}

}  // namespace cairn
