// Replication classes: into which one the bytes of new files go.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/operations.h"

namespace cairn {

namespace {

// A file's bytes stay where they are, even if it is empty: somebody may have written some, of which no size tells yet.
Status setClass(Execution& execution, InodeId id, ClassId cls) {
  InodeRecord inode;
  auto reached = reach(execution.store, id, inode);
  if (!reached.ok()) {
    return reached;
  }
  if (!S_ISDIR(inode.mode)) {
    return Error{ENOTDIR, "only of a directory can be said what is made in it"};
  }
  if (!execution.map.classes.contains(cls)) {
    return Error{EINVAL, "there is no replication class of that number"};
  }
  if (inode.cls != cls) {
    inode.cls = cls;
    inode.changed = execution.now();
    save(execution, inode);
  }
  return {};
}

}  // namespace

Status changeClass(Execution& execution, wire::ClassChange::Reader command) {
  switch (command.which()) {
    case wire::ClassChange::SET:
      return setClass(execution, InodeId{command.getSet().getInode()}, ClassId{command.getSet().getClass()});
    case wire::ClassChange::BEGIN:
      return beginMoves(execution, command.getBegin());
    case wire::ClassChange::SEAL:
      return sealMoves(execution, command.getSeal());
    case wire::ClassChange::FINISH:
      return finishMoves(execution, command.getFinish());
    case wire::ClassChange::DROP:
      return dropMoves(execution, command.getDrop());
    case wire::ClassChange::BEGIN_TASK:
      return beginMoveTask(execution, command.getBeginTask());
    case wire::ClassChange::END_TASK:
      return endMoveTask(execution, command.getEndTask());
    case wire::ClassChange::NONE:
      break;
  }
  return Error{EINVAL, "a change of no class"};
}

}  // namespace cairn
