// What a program knows of the machine that it runs on. For main.cc.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace cairn {

// Equal in all processes of one running machine and nowhere else: the kernel's boot id. Empty when unknown.
std::string thisHostId();
// For people.
std::string thisHostName();
// Who runs this process, behind sudo as well. For people: the environment says it.
std::string thisUserName();

struct MountEntry {
  std::string at;      // absolute path of the mount point
  std::string type;    // "fuse.dfs"
  std::string source;
};
// What is mounted in this process's view, in the order of mounting.
std::vector<MountEntry> mountTable();
std::string workingDirectory();

// The texts of files, in that order, each read by a process of its own, for a read may get stuck in a file system; at
// most 4 MiB each. ETIMEDOUT: it did, all together `limit` long.
std::vector<Result<std::string>> readTextsWithin(const std::vector<std::string>& paths, Nanos limit);
// The threads of a process, itself among them; empty when there is no such process.
std::vector<uint32_t> threadsOf(uint32_t process);

}  // namespace cairn
