#include "common/domain_name.h"

#include <algorithm>

namespace cairn {

bool isDomainName(std::string_view text) {
  constexpr size_t NAME_BYTES_MAX = 63;
  return !text.empty() && text.size() <= NAME_BYTES_MAX && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

}  // namespace cairn
