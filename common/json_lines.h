// Log lines for programs: one JSON object each, with time (RFC 3339, UTC), level, program and text.
#pragma once
#include <spdlog/formatter.h>

#include <memory>
#include <string_view>

namespace cairn {

class JsonLines final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override;
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonLines>(); }

  // As the inside of a JSON string, at most so many bytes of it. What isn't UTF-8 comes out as U+FFFD.
  static void appendEscaped(std::string_view text, spdlog::memory_buf_t& out, size_t bytesMax);
};

}  // namespace cairn
