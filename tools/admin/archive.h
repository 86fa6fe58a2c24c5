// A .tar.gz made in memory.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace cairn::admin {

struct ArchiveEntry {
  std::string name;
  std::string text;
};
// All entries below the directory `top`. Throws kj::Exception when there is no memory for it.
std::string tarGz(const std::string& top, const std::vector<ArchiveEntry>& entries, int64_t timeSeconds);

}  // namespace cairn::admin
