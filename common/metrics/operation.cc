#include "common/metrics/operation.h"

#include <cstdio>

namespace cairn {

std::string milliseconds(Nanos time) {
  constexpr Nanos LONG = 10 * SECOND;
  char text[48];
  if (time >= LONG) {
    snprintf(text, sizeof(text), "%.1f s", static_cast<double>(time) / SECOND);
  } else {
    snprintf(text, sizeof(text), "%lld ms", static_cast<long long>(time / MILLISECOND));
  }
  return text;
}

std::string OperationTimer::path() const {
  std::string out;
  Nanos before = began_;
  for (size_t i = 0; i < stages_; ++i) {
    out += (i == 0 ? "" : ", ") + std::string(names_[i]) + " " + milliseconds(ends_[i] - before);
    before = ends_[i];
  }
  return out;
}

}  // namespace cairn
