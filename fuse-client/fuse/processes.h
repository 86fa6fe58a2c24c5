// Processes: the seam to what the kernel says of the programs that use the mount. Production: /proc.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "common/clock.h"

namespace cairn {

class Processes {
 public:
  virtual ~Processes() = default;
  // Supplementary groups of a process (or thread); none when it is gone.
  virtual std::vector<uint32_t> groups(pid_t pid) = 0;
  // It is about to die: a signal that ends it is pending, or it is gone.
  virtual bool beingKilled(pid_t pid) = 0;
  // Somebody wants it to stop: a signal for that is pending (SIGINT, SIGQUIT, SIGTERM), though it means to handle it.
  virtual bool isAskedToStop(pid_t pid) = 0;
  // It is on its way out of existence, and no signal reaches it any more.
  virtual bool isExiting(pid_t pid) = 0;
};

std::unique_ptr<Processes> newSystemProcesses();

// Remembers groups for a moment: reading /proc costs as much as a whole operation. A process that changes its
// groups and nothing else is seen with the old ones for at most TRUST.
class GroupCache {
 public:
  GroupCache(Processes& processes, Clock& clock) : processes_(processes), clock_(clock) {}
  const std::vector<uint32_t>& groups(pid_t pid, uint32_t uid, uint32_t gid);

 private:
  static constexpr Nanos TRUST = 200 * MILLISECOND;
  static constexpr size_t ENTRIES_MAX = 4096;
  struct Known {
    uint32_t uid = 0;
    uint32_t gid = 0;
    Nanos until = 0;
    std::vector<uint32_t> groups;
  };

  Processes& processes_;
  Clock& clock_;
  std::unordered_map<pid_t, Known> known_;
};

}  // namespace cairn
