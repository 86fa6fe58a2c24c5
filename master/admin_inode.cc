#include "master/admin_inode.h"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

namespace cairn {
namespace {

constexpr size_t NAMES_AT_ONCE = 1024;
constexpr size_t PATHS_MAX = 1000;
constexpr Nanos PAUSE = MILLISECOND;

std::string below(const std::string& directory, const std::string& name) {
  return (directory == "/" ? "" : directory) + "/" + name;
}

Task<std::vector<std::string>> pathsOf(Core& core, InodeId inode) {
  auto& reader = core.replica.reader();
  std::vector<std::string> found;
  for (InodeId directory : reader.directoriesOf(inode)) {
    uint64_t after = 0;
    for (bool more = true; more && found.size() < PATHS_MAX;) {
      auto names = reader.children(directory, after, NAMES_AT_ONCE);
      auto above = reader.pathOf(directory);
      for (auto& child : names) {
        after = child.cookie;
        if (child.inode == inode && above.ok()) {
          found.push_back(below(above.value(), child.name));
        }
      }
      more = names.size() == NAMES_AT_ONCE;
      co_await core.clock.after(PAUSE);
    }
  }
  co_return found;
}

}  // namespace

Task<void> findPaths(Core& core, PathsCall context) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  InodeId inode{context.getParams().getInode()};
  auto& reader = core.replica.reader();
  auto record = reader.record(inode);
  std::vector<std::string> paths;
  if (record && record->links > 0 && S_ISDIR(record->mode)) {
    auto path = reader.pathOf(inode);
    paths = path.ok() ? std::vector<std::string>{path.value()} : paths;
  } else if (record && record->links > 0) {
    auto found = co_await pathsOf(core, inode);
    paths = std::move(found);
  }
  auto outcome = context.getResults().initOutcome();
  if (paths.empty()) {
    std::string number = std::to_string(raw(inode));
    setOutcome(Error{ENOENT, record ? "inode " + number + " has no name: it was deleted, and is open or in the trash"
                                    : "there is no inode " + number + " (any more)"},
               outcome);
    co_return;
  }
  auto out = context.getResults().initPaths(static_cast<unsigned>(paths.size()));
  for (unsigned i = 0; i < out.size(); ++i) {
    out.set(i, kj::StringPtr(paths[i].c_str(), paths[i].size()).asBytes());
  }
}

}  // namespace cairn
