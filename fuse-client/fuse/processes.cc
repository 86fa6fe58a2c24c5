#include "fuse-client/fuse/processes.h"

#include <signal.h>

#include <fstream>
#include <sstream>
#include <string>

namespace cairn {
namespace {

class SystemProcesses final : public Processes {
 public:
  std::vector<uint32_t> groups(pid_t pid) override {
    std::vector<uint32_t> found;
    std::istringstream numbers(field(pid, "Groups:"));
    for (uint32_t group; numbers >> group;) {
      found.push_back(group);
    }
    return found;
  }

  bool beingKilled(pid_t pid) override {
    auto own = field(pid, "SigPnd:");
    auto shared = field(pid, "ShdPnd:");
    if (own.empty() || shared.empty()) {
      return true;  // gone
    }
    constexpr uint64_t KILL_BIT = uint64_t{1} << (SIGKILL - 1);
    return ((std::stoull(own, nullptr, 16) | std::stoull(shared, nullptr, 16)) & KILL_BIT) != 0;
  }

 private:
  // The rest of the line of /proc/PID/status that begins with `name`; empty when there is no such process.
  static std::string field(pid_t pid, const std::string& name) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(name)) {
        return line.substr(name.size());
      }
    }
    return {};
  }
};

}  // namespace

std::unique_ptr<Processes> newSystemProcesses() {
  return std::make_unique<SystemProcesses>();
}

const std::vector<uint32_t>& GroupCache::groups(pid_t pid, uint32_t uid, uint32_t gid) {
  if (known_.size() >= ENTRIES_MAX) {
    known_.clear();
  }
  Nanos now = clock_.monotonic();
  Known& known = known_[pid];
  if (known.until <= now || known.uid != uid || known.gid != gid) {
    known = Known{uid, gid, now + TRUST, processes_.groups(pid)};
  }
  return known.groups;
}

}  // namespace cairn
