#include "master/admin_copies.h"

namespace cairn {

void writeCopyTasks(const Core& core, wire::Admin::CopyTasksResults::Builder out) {
  auto tasks = core.mover.progress();
  auto& map = core.replica.reader().map();
  auto list = out.initTasks(static_cast<unsigned>(tasks.size()));
  for (uint32_t i = 0; i < list.size(); ++i) {
    const MoveTask& task = tasks[i].task;
    list[i].setId(task.id);
    list[i].setPath(kj::StringPtr(task.path.c_str(), task.path.size()).asBytes());
    list[i].setFilesDone(task.filesDone);
    list[i].setBytesDone(task.bytesDone);
    list[i].setFilesWaiting(tasks[i].waiting);
    list[i].setWhy(tasks[i].why);
    auto cls = map.classes.find(task.cls);
    if (cls != map.classes.end()) {
      list[i].setCopies(cls->second.copies);
      list[i].setLevel(cls->second.level);
    }
  }
}

}  // namespace cairn
