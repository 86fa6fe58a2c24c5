#include "common/log.h"

#include <unistd.h>

#include <string>

#include "common/json_lines.h"
#include "common/system/line_sink.h"
#include "common/system/log_file.h"

namespace cairn {

Status startLogging(const LoggingOptions& options) {
  std::shared_ptr<LineSink> sink;
  if (options.file.empty()) {
    sink = std::make_shared<LineSink>(STDERR_FILENO);
  } else {
    auto opened = LogFile::open(options.file, options.fileBytesMax);
    if (!opened.ok()) {
      return opened.error();
    }
    sink = std::make_shared<LineSink>(std::move(opened.value()));
  }
  auto logger = std::make_shared<spdlog::logger>(options.program, std::move(sink));
  if (options.json) {
    logger->set_formatter(std::make_unique<JsonLines>());
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %n: %v");
  }
  logger->set_level(spdlog::level::from_str(options.level));
  spdlog::set_default_logger(std::move(logger));
  return {};
}

void startLogging(const char* program, const char* level) {
  LoggingOptions options;
  options.program = program;
  options.level = level;
  (void)startLogging(options);  // standard error is always there
}

namespace {

LineSink* currentSink() {
  auto& sinks = spdlog::default_logger()->sinks();
  return sinks.empty() ? nullptr : dynamic_cast<LineSink*>(sinks.front().get());
}

}  // namespace

void reopenLog() {
  if (LineSink* sink = currentSink()) {
    sink->reopen();
  }
}

uint64_t droppedLogLines() {
  LineSink* sink = currentSink();
  return sink == nullptr ? 0 : sink->dropped();
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
