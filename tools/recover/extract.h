// Getting files out of an archive, into a directory of any file system.
#pragma once
#include <string>
#include <vector>

#include "common/system/tree_writer.h"
#include "tools/recover/report.h"

namespace cairn::rescue {

struct ExtractOptions {
  std::vector<std::string> paths;  // empty: everything
  TreeWriter* to = nullptr;        // nullptr: only say what would come out
};

struct Extracted {
  uint64_t files = 0;
  uint64_t others = 0;  // directories, links, special files
  uint64_t bytes = 0;
  uint64_t skipped = 0;               // there already
  std::vector<FileReport> damaged;    // lost ranges are holes in what came out
  std::vector<std::string> refused;   // what could not be written, and why
};

// What no name leads to comes out below this directory.
constexpr char LOST_AND_FOUND[] = "lost+found";

// ENOENT: a path that isn't there.
Result<Extracted> extract(Archive& archive, const ExtractOptions& options);

}  // namespace cairn::rescue
