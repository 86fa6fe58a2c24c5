// Which files are known to lack an extended attribute that is asked for all the time: the kernel looks for
// capabilities before every write, and `ls -l` for a label. That a file has none at all, and which ACLs it lacks, its
// attributes tell; NoXattrs remembers the answers about those that have others. A change of one changes the file's
// change time, so that tells whether what was found then still holds, as long as that time is leased.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/ids.h"
#include "fuse-client/client/types.h"
#include "schema/types.capnp.h"

namespace cairn {

// Not what the file system itself answers under such a name, the counts of a directory.
inline bool lacksXattr(const Attributes& attributes, std::string_view name) {
  uint8_t lack = name == "system.posix_acl_access"    ? wire::LACKS_ACCESS_ACL
                 : name == "system.posix_acl_default" ? wire::LACKS_DEFAULT_ACL
                 : name.starts_with("user.dfs.")      ? 0
                                                      : wire::LACKS_OTHER_XATTRS;
  return (attributes.lacks & lack) != 0;
}

class NoXattrs {
 public:
  void note(InodeId inode, std::string_view name, FileTime changed) {
    int kind = kindOf(name);
    if (kind == NEITHER) {
      return;
    }
    if (known_.size() >= FILES_MAX) {
      known_.clear();
    }
    Known& known = known_[inode];
    known.kinds = known.changed == changed ? known.kinds | kind : kind;
    known.changed = changed;
  }
  bool contains(InodeId inode, std::string_view name, FileTime changed) const {
    int kind = kindOf(name);
    auto known = kind == NEITHER ? known_.end() : known_.find(inode);
    return known != known_.end() && known->second.changed == changed && (known->second.kinds & kind) != 0;
  }

 private:
  static constexpr size_t FILES_MAX = 65536;
  static constexpr int NEITHER = 0;
  static int kindOf(std::string_view name) {
    return name == "security.capability" ? 1 : name == "security.selinux" ? 2 : NEITHER;
  }
  struct Known {
    FileTime changed;
    int kinds = NEITHER;
  };

  std::unordered_map<InodeId, Known> known_;
};

}  // namespace cairn
