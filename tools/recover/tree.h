// The tree of names: walks it, and reads what belongs to an inode besides its bytes.
#pragma once
#include <kj/function.h>

#include <string>
#include <vector>

#include "master/namespace/reader.h"

namespace cairn::rescue {

struct TreeEntry {
  std::string path;  // without a leading slash; of the root: empty
  std::string name;  // its last part: as it stands in the state, be it what it may
  InodeRecord inode;
};

// Shows `start` (a path, or empty for the root) and all below: `enter` a directory before what is in it, `leave` it
// after; everything else only enters. What `enter` returns is whether to go into a directory. ENOENT: there is no such
// path.
Status walkTree(const NamespaceReader& reader, const std::string& start, kj::Function<bool(const TreeEntry&)> enter,
                kj::Function<void(const TreeEntry&)> leave);

// Those that tools show, ACLs among them.
std::vector<std::pair<std::string, std::string>> xattrsOf(const NamespaceReader& reader, InodeId inode);

}  // namespace cairn::rescue
