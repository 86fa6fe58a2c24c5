#include "fuse-client/client/waits.h"

namespace cairn {

std::vector<Wait> Waits::list() const {
  std::vector<Wait> out;
  for (const Entry* entry = end_.next_; entry != &end_; entry = entry->next_) {
    Wait& wait = out.emplace_back();
    entry->describe(wait);
    wait.nanos = clock_.monotonic() - entry->since_;
  }
  return out;
}

}  // namespace cairn
