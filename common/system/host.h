// What a program knows of the machine that it runs on. For main.cc.
#pragma once
#include <string>
#include <vector>

namespace cairn {

// Equal in all processes of one running machine and nowhere else: the kernel's boot id. Empty when unknown.
std::string thisHostId();
// For people.
std::string thisHostName();

struct MountEntry {
  std::string at;      // absolute path of the mount point
  std::string type;    // "fuse.dfs"
  std::string source;
};
// What is mounted in this process's view, in the order of mounting.
std::vector<MountEntry> mountTable();
std::string workingDirectory();

}  // namespace cairn
