#include "tools/admin/paths.h"

#include <cerrno>
#include <sstream>

namespace cairn::admin {

namespace {

constexpr const char* MOUNT_TYPE = "fuse.dfs";

// An absolute path without ".", ".." and doubled slashes.
std::string normalized(const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream in(path);
  std::string part;
  while (std::getline(in, part, '/')) {
    if (part == ".." && !parts.empty()) {
      parts.pop_back();
    } else if (!part.empty() && part != "." && part != "..") {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const auto& p : parts) {
    out += "/" + p;
  }
  return out.empty() ? "/" : out;
}

bool isBelow(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.compare(0, directory.size() + 1, directory + "/") == 0;
}

}  // namespace

Result<std::string> clusterPath(const Context& context, const std::string& path) {
  bool relative = path.empty() || path[0] != '/';
  std::string absolute = normalized(relative ? context.workingDirectory + "/" + path : path);
  const MountEntry* nearest = nullptr;
  for (const auto& mount : context.mounts) {
    if (isBelow(absolute, mount.at) && (nearest == nullptr || mount.at.size() >= nearest->at.size())) {
      nearest = &mount;
    }
  }
  if (nearest != nullptr && nearest->type == MOUNT_TYPE) {
    std::string inside = absolute.substr(nearest->at.size());
    return inside.empty() ? std::string("/") : inside;
  }
  if (relative) {
    return Error{EINVAL, absolute + " is in no mount of this kind; name a path below a mount point, or one from the "
                                    "cluster's root, beginning with /"};
  }
  return absolute;
}

}  // namespace cairn::admin
