// Who may do what to an inode: the rules of POSIX and Linux, without side effects. uid 0 may do everything.
#pragma once
#include <string_view>

#include "common/result.h"
#include "master/namespace/records.h"
#include "schema/master.capnp.h"

namespace cairn {

class Credentials {
 public:
  explicit Credentials(wire::Caller::Reader from)
      : uid_(from.getUid()), gid_(from.getGid()), groups_(from.getGroups()) {}
  uint32_t uid() const { return uid_; }
  uint32_t gid() const { return gid_; }
  bool isRoot() const { return uid_ == 0; }
  bool inGroup(uint32_t gid) const;
  bool owns(const InodeRecord& inode) const { return isRoot() || uid_ == inode.uid; }

 private:
  uint32_t uid_;
  uint32_t gid_;
  capnp::List<uint32_t>::Reader groups_;
};

constexpr unsigned MAY_READ = 4;
constexpr unsigned MAY_WRITE = 2;
constexpr unsigned MAY_SEARCH = 1;

bool may(const Credentials& caller, const InodeRecord& inode, unsigned wanted);

// Whether a name may be added to `directory`: ENOENT when it was removed, EACCES.
Status mayAdd(const Credentials& caller, const InodeRecord& directory);
// Whether the name of `victim` may be taken from `directory`: EACCES, EPERM (sticky bit), ENOTDIR and EISDIR when it
// isn't of the wanted kind, ENOENT when the directory was removed.
Status mayTake(const Credentials& caller, const InodeRecord& directory, const InodeRecord& victim, bool wantDirectory);

// The mode that `inode` has after its owner or bytes changed through somebody without the right to keep these bits.
uint32_t withoutSetIds(uint32_t mode);
// The mode of a new inode in a directory of mode `parentMode` and group `parentGid`.
uint32_t inheritedMode(const Credentials& caller, uint32_t mode, uint32_t parentMode, uint32_t parentGid);

constexpr size_t NAME_BYTES_MAX = 255;
// ENOENT when empty, ENAMETOOLONG, EINVAL with a slash or a zero byte.
Status checkName(std::string_view name);
bool isDots(std::string_view name);  // "." or ".."

}  // namespace cairn
