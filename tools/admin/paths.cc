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

namespace {

bool isRelative(const std::string& path) {
  return path.empty() || path[0] != '/';
}
std::string absoluteOf(const Context& context, const std::string& path) {
  return normalized(isRelative(path) ? context.workingDirectory + "/" + path : path);
}

}  // namespace

bool isMount(const MountEntry& mount) {
  return mount.type == MOUNT_TYPE;
}

const MountEntry* mountOf(const Context& context, const std::string& path) {
  std::string absolute = absoluteOf(context, path);
  const MountEntry* nearest = nullptr;
  for (const auto& mount : context.mounts) {
    if (isBelow(absolute, mount.at) && (nearest == nullptr || mount.at.size() >= nearest->at.size())) {
      nearest = &mount;
    }
  }
  return nearest != nullptr && isMount(*nearest) ? nearest : nullptr;
}

Result<std::string> clusterPath(const Context& context, const std::string& path) {
  std::string absolute = absoluteOf(context, path);
  const MountEntry* nearest = mountOf(context, path);
  if (nearest != nullptr) {
    std::string inside = absolute.substr(nearest->at.size());
    return inside.empty() ? std::string("/") : inside;
  }
  if (isRelative(path)) {
    return Error{EINVAL, absolute + " is in no mount of this kind; name a path below a mount point, or one from the "
                                    "cluster's root, beginning with /"};
  }
  return absolute;
}

}  // namespace cairn::admin
