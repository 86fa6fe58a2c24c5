// How dfsadmin writes: tables for people, JSON for programs, one moving line for progress.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/admin/context.h"

namespace cairn::admin {

// Keeps the order in which keys were added.
using Json = nlohmann::ordered_json;

// "1.5 GiB"; exact below 1 KiB.
std::string sizeText(uint64_t bytes);
// The other way, "10G", "1.5 TiB" or "4096"; powers of 1024. Nothing when it makes no sense.
std::optional<uint64_t> sizeOf(const std::string& text);
// "3 m 20 s"
std::string durationText(uint64_t seconds);
// The other way, "30m" or "90s"; 0 when it makes no sense.
uint32_t secondsOf(const std::string& text);
std::string joined(const std::vector<std::string>& parts, const char* between);

// Left-aligned columns as wide as their widest cell, under a heading.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) { add(std::move(heading)); }
  void add(std::vector<std::string> row);
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

void printJson(const Json& json);

// What was done: `text` for people; `about` and, as "done", the text for programs. Returns EXIT_HEALTHY.
int printDone(const Context& context, Json about, const std::string& text);

// One line on standard error that is written over by the next; nothing when that is no terminal.
class Progress {
 public:
  explicit Progress(const Context& context) : on_(context.terminal) {}
  ~Progress() { clear(); }
  void show(const std::string& line);
  void clear();

 private:
  bool on_;
  size_t shown_ = 0;
};

}  // namespace cairn::admin
