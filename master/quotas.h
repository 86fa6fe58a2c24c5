// Quotas: has sessions give back what they don't need of their grants (namespace/quota.h) when somebody is short of it,
// so that nobody is told EDQUOT while there is room that nobody uses. Who may have what is the state's to say.
#pragma once
#include <optional>
#include <vector>

#include "common/task.h"
#include "master/leases.h"
#include "master/replica.h"

namespace cairn {

class Quotas final {
 public:
  Quotas(Clock& clock, Replica& replica, Leases& leases) : clock_(clock), replica_(replica), leases_(leases) {}
  KJ_DISALLOW_COPY(Quotas);

  // What a session's operation needs beyond its own grant isn't free, and others have grants.
  bool isShort(SessionId by, wire::Op::Reader op) const;
  // Then: resolves when it is, as far as that can be. A session that doesn't answer is waited for until it does or has
  // ended.
  Task<void> makeRoom(SessionId by, wire::Op::Reader op);
  // The same, for `bytes` that come to be in a directory.
  Task<void> makeRoom(InodeId directory, uint64_t bytes);
  // A grant is asked for in vain: that needs no log entry, if this master still leads when it has looked.
  Status refuses(wire::Op::Reader op) const;
  // All grants at or below a directory: what isn't needed is given back.
  Task<void> recallGrants(InodeId directory);
  // Nobody is the writer of a file below a directory any more: what was written is at the chunkservers, its size is
  // known, and who writes on learns first whose quota the file counts for. But for those who can't write out in time,
  // for their chunkservers are away.
  Task<void> recallWriters(InodeId directory);

 private:
  struct Need {
    InodeId directory{};
    uint64_t bytes = 0;
    std::optional<NamespaceReader::Grant> but;  // a grant of which its session has nothing to spare
  };
  Need needOf(SessionId by, wire::Op::Reader op) const;
  // Whose grants count in the quotas that are short: those below that directory. 0: none is.
  InodeId shortFor(const Need& need) const;
  Task<void> makeRoomFor(Need need);
  std::vector<NamespaceReader::Grant> grantsBelow(InodeId directory) const;
  bool isBelow(InodeId inode, InodeId directory) const;

  static constexpr Nanos WRITERS_WAIT = 5 * SECOND;

  Clock& clock_;
  Replica& replica_;
  Leases& leases_;
};

}  // namespace cairn
