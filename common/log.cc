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

}  // namespace cairn
