// Quotas: limits of what is below a directory, and the counts that they rest on.
#include <cerrno>

#include "master/namespace/operations.h"

namespace cairn {

// Inode 0: no quota is changed, but a state from before there were accounts is counted.
Status changeQuota(Execution& execution, wire::QuotaChange::Reader command) {
  if (command.getInode() != 0) {
    return Error{ENOSYS, "quotas aren't kept by this master"};
  }
  if (!execution.head.counted) {
    countAll(execution);
  }
  return {};
}

}  // namespace cairn
