#include "common/json_lines.h"

#include <spdlog/details/os.h>
#include <spdlog/fmt/fmt.h>

#include <nlohmann/json.hpp>
#include <string>

#include "common/system/line_sink.h"

namespace cairn {

void JsonLines::appendEscaped(std::string_view text, spdlog::memory_buf_t& out, size_t bytesMax) {
  std::string quoted;
  for (size_t taken = std::min(text.size(), bytesMax);; taken /= 2) {  // escaping makes it longer
    nlohmann::json json = std::string(text.substr(0, taken));
    quoted = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (quoted.size() <= bytesMax + 2 || taken == 0) {
      break;
    }
  }
  out.append(quoted.data() + 1, quoted.data() + quoted.size() - 1);
}

void JsonLines::format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) {
  constexpr size_t REST_BYTES = 160;  // of the line, beside the text
  auto since = message.time.time_since_epoch();
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(since - seconds).count();
  std::tm at = spdlog::details::os::gmtime(static_cast<std::time_t>(seconds.count()));
  auto level = spdlog::level::to_string_view(message.level);
  fmt::format_to(fmt::appender(out),
                 R"({{"time":"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z","level":"{}","program":")", at.tm_year + 1900,
                 at.tm_mon + 1, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec, millis,
                 std::string_view(level.data(), level.size()));
  appendEscaped({message.logger_name.data(), message.logger_name.size()}, out, REST_BYTES / 2);
  fmt::format_to(fmt::appender(out), R"(","text":")");
  appendEscaped({message.payload.data(), message.payload.size()}, out, LineSink::LINE_BYTES_MAX - REST_BYTES * 2);
  fmt::format_to(fmt::appender(out), "\"}}\n");
}

}  // namespace cairn
