#include "rpc/about.h"

#include <cerrno>

#include "common/log.h"

namespace cairn {

Status tellAbout(const std::string& level, const std::string& version, wire::DaemonAbout::Builder out) {
  if (!level.empty()) {
    std::string before = logLevel();
    if (!setLogLevel(level)) {
      return Error{EINVAL, "there is no log level '" + level +
                               "'; it is one of trace, debug, info, warning, error, critical, off"};
    }
    spdlog::warn("an administrator changed the log level from {} to {}", before, level);
  }
  out.setVersion(version);
  out.setLogLevel(logLevel());
  return {};
}

}  // namespace cairn
