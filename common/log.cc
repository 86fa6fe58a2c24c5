#include "common/log.h"

#include <unistd.h>

#include <string>

#include "common/system/line_sink.h"

namespace cairn {

void startLogging(const char* program, const char* level) {
  auto logger = std::make_shared<spdlog::logger>(program, std::make_shared<LineSink>(STDERR_FILENO));
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %n: %v");
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
}

bool setLogLevel(const std::string& level) {
  auto wanted = spdlog::level::from_str(level);
  if (wanted == spdlog::level::off && level != "off") {
    return false;
  }
  spdlog::default_logger()->set_level(wanted);
  return true;
}

std::string logLevel() {
  auto name = spdlog::level::to_string_view(spdlog::default_logger()->level());
  return std::string(name.data(), name.size());
}

}  // namespace cairn
