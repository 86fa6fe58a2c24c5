#include "common/cluster_file.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace cairn {

namespace {

constexpr size_t FILE_BYTES_MAX = 1 << 20;

}  // namespace

Result<ClusterFile> readClusterFile(const std::string& path) {
  std::error_code failure;
  auto kind = std::filesystem::status(path, failure);
  if (!std::filesystem::exists(kind)) {
    int code = failure ? failure.value() : ENOENT;
    return Error{code, path + ": " + std::generic_category().message(code) +
                           "; name the cluster's file, or start a cluster with tools/dfs up"};
  }
  if (!std::filesystem::is_regular_file(kind)) {
    return Error{EINVAL, path + ": not a regular file; name the cluster.toml itself"};
  }
  auto size = std::filesystem::file_size(path, failure);
  if (failure || size > FILE_BYTES_MAX) {
    return Error{EFBIG, path + ": too large for a cluster.toml; name the right file"};
  }
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) {
    return Error{EACCES, path + ": can't be read; check its permissions"};
  }
  return parseClusterFile(text.str(), std::filesystem::absolute(path).lexically_normal().string());
}

}  // namespace cairn
