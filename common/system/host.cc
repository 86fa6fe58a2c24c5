#include "common/system/host.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace cairn {

namespace {

// The kernel writes a space, tab, newline or backslash in a path as three octal digits.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string thisHostId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

std::string thisHostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "localhost";
}

std::vector<MountEntry> mountTable() {
  std::ifstream in("/proc/self/mountinfo");
  std::vector<MountEntry> table;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string skip;
    MountEntry entry;
    fields >> skip >> skip >> skip >> skip >> entry.at;
    while (fields >> skip && skip != "-") {
    }
    if (fields >> entry.type >> entry.source) {
      entry.at = unescape(entry.at);
      entry.source = unescape(entry.source);
      table.push_back(entry);
    }
  }
  return table;
}

std::string workingDirectory() {
  std::error_code failure;
  auto path = std::filesystem::current_path(failure);
  return failure ? "/" : path.string();
}

}  // namespace cairn
