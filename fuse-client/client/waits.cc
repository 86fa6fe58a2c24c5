#include "fuse-client/client/waits.h"

#include <fmt/format.h>

namespace cairn {

std::vector<std::string> Waits::lines() const {
  std::vector<std::string> out;
  out.reserve(entries_.size());
  for (auto& [key, entry] : entries_) {
    double seconds = static_cast<double>(clock_.monotonic() - entry.since) / SECOND;
    out.push_back(fmt::format("{:.1f} s: {}", seconds, entry.text()));
  }
  return out;
}

}  // namespace cairn
