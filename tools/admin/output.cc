#include "tools/admin/output.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <iostream>

namespace cairn::admin {

std::string sizeText(uint64_t bytes) {
  static constexpr const char* UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(UNITS)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  snprintf(text, sizeof(text), unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, UNITS[unit]);
  return text;
}

std::optional<uint64_t> sizeOf(const std::string& text) {
  static constexpr std::string_view UNITS = "KMGTPE";
  constexpr double BYTES_MAX = 9e18;
  double number = 0;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string unit(end, text.data() + text.size());
  while (!unit.empty() && unit.front() == ' ') {
    unit.erase(0, 1);
  }
  if (wrong != std::errc() || number < 0) {
    return std::nullopt;
  }
  size_t power = unit.empty() ? UNITS.npos : UNITS.find(static_cast<char>(std::toupper(unit.front())));
  std::string rest = power == UNITS.npos ? unit : unit.substr(1);
  if (rest != "" && rest != "B" && rest != "iB") {
    return std::nullopt;
  }
  for (size_t i = 0; power != UNITS.npos && i <= power; ++i) {
    number *= 1024;
  }
  return number <= BYTES_MAX ? std::optional(static_cast<uint64_t>(number)) : std::nullopt;
}

std::string durationText(uint64_t seconds) {
  if (seconds < 60) {
    return std::to_string(seconds) + " s";
  }
  if (seconds < 3600) {
    return std::to_string(seconds / 60) + " m " + std::to_string(seconds % 60) + " s";
  }
  return std::to_string(seconds / 3600) + " h " + std::to_string(seconds % 3600 / 60) + " m";
}

uint32_t secondsOf(const std::string& text) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    ++digits;
  }
  std::string unit = text.substr(digits);
  uint64_t factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : unit == "d" ? 86400 : 0;
  if (digits == 0 || digits > 7 || factor == 0) {
    return 0;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(std::stoul(text.substr(0, digits)) * factor, UINT32_MAX));
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const auto& part : parts) {
    out += (out.empty() ? "" : between) + part;
  }
  return out;
}

void Table::add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

void Table::print() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + (i + 1 < row.size() ? std::string(widths[i] - row[i].size() + 2, ' ') : "");
    }
    std::cout << line << "\n";
  }
}

void printJson(const Json& json) {
  // Names in a file system need not be UTF-8; what isn't is replaced.
  std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

int printDone(const Context& context, Json about, const std::string& text) {
  if (context.json) {
    about["done"] = text;
    printJson(about);
  } else {
    std::cout << text << "\n";
  }
  return EXIT_HEALTHY;
}

void Progress::show(const std::string& line) {
  if (!on_) {
    return;
  }
  std::cerr << "\r" << line << std::string(shown_ > line.size() ? shown_ - line.size() : 0, ' ') << std::flush;
  shown_ = line.size();
}

void Progress::clear() {
  if (shown_ > 0) {
    std::cerr << "\r" << std::string(shown_, ' ') << "\r" << std::flush;
    shown_ = 0;
  }
}

}  // namespace cairn::admin
