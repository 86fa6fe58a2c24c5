// Who a master's data directory belongs to: the file "identity" in it, and the lock that one process holds.
#pragma once
#include <kj/memory.h>

#include <string>

#include "common/disk.h"
#include "common/ids.h"
#include "common/random.h"

namespace cairn {

struct MemberTag;
// Drawn when a data directory is made: a member that lost its directory comes back as another.
using MemberIncarnation = Uuid<MemberTag>;

struct Identity {
  static constexpr uint32_t FORMAT = 1;  // of the data directory
  uint32_t format = FORMAT;
  ClusterId cluster;
  std::string member;
  MemberIncarnation incarnation;
  bool joined = false;  // it waited for a group to take it in; else it may begin one
  GroupEpoch epoch{};   // of its group
  uint64_t place = 0;   // number of the directory's lock file: a copy has another. 0: not noted yet
};

// Durable when it returns. For who holds the directory.
Status saveIdentity(Disk& disk, const Identity& identity);

struct OwnedDirectory {
  Identity identity;    // with the place where it is now
  bool isCopy = false;  // it was made elsewhere: what its original has promised since isn't known here
  kj::Own<DirectoryLock> lock;
};

// Locks the directory and checks that it is `member`'s of `cluster`; an empty directory becomes that. Refused, with a
// message that says what to do: another process's (EWOULDBLOCK), another cluster's or member's (EINVAL), a newer
// format's (EPROTO), one with files but no identity (EINVAL), a damaged identity (EIO).
// `joins`: what a new directory is for.
Result<OwnedDirectory> openDirectory(Disk& disk, ClusterId cluster, const std::string& member, Random& random,
                                     bool joins = false);

}  // namespace cairn
