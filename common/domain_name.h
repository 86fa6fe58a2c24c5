// Names of racks and zones, as operators give them.
#pragma once
#include <string_view>

namespace cairn {

constexpr const char* DOMAIN_NAME_RULE = "use 1 to 63 letters, digits, '-', '_' and '.'";
bool isDomainName(std::string_view text);

}  // namespace cairn
