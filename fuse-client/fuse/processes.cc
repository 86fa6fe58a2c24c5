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
    if (field(pid, "SigPnd:").empty()) {
      return true;  // gone
    }
    uint64_t pending = signals(pid, "SigPnd:") | signals(pid, "ShdPnd:");
    uint64_t harmless = signals(pid, "SigBlk:") | signals(pid, "SigIgn:") | signals(pid, "SigCgt:");
    for (int signal : {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH}) {
      harmless |= bit(signal);
    }
    return (pending & (~harmless | bit(SIGKILL))) != 0;
  }

  bool isAskedToStop(pid_t pid) override {
    uint64_t pending = signals(pid, "SigPnd:") | signals(pid, "ShdPnd:");
    return (pending & ~signals(pid, "SigBlk:") & (bit(SIGINT) | bit(SIGQUIT) | bit(SIGTERM))) != 0;
  }

  bool isExiting(pid_t pid) override {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(stat, line);
    auto name = line.rfind(')');  // the name may have anything in it
    if (name == std::string::npos) {
      return true;
    }
    constexpr uint64_t EXITING = 0x4;  // PF_EXITING of the kernel's flags, the seventh field after the name
    std::istringstream fields(line.substr(name + 1));
    std::string skip;
    uint64_t flags = 0;
    fields >> skip >> skip >> skip >> skip >> skip >> skip >> flags;
    return (flags & EXITING) != 0;
  }

 private:
  static uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }
  static uint64_t signals(pid_t pid, const std::string& name) {
    constexpr int HEXADECIMAL = 16;
    auto text = field(pid, name);
    return text.empty() ? 0 : std::stoull(text, nullptr, HEXADECIMAL);
  }

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
