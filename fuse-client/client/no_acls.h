// NoAcls: which files are known to have no access control list of a kind. The kernel asks again whenever it has looked
// at the attributes anew, and hardly any file has one. A change of a list changes the file's change time, so that tells
// whether what was found then still holds, as long as that time is leased.
#pragma once
#include <string>
#include <unordered_map>

#include "common/ids.h"
#include "fuse-client/client/types.h"

namespace cairn {

class NoAcls {
 public:
  void note(InodeId inode, const std::string& name, FileTime changed) {
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
  bool contains(InodeId inode, const std::string& name, FileTime changed) const {
    int kind = kindOf(name);
    auto known = kind == NEITHER ? known_.end() : known_.find(inode);
    return known != known_.end() && known->second.changed == changed && (known->second.kinds & kind) != 0;
  }

 private:
  static constexpr size_t FILES_MAX = 65536;
  static constexpr int NEITHER = 0;
  static int kindOf(const std::string& name) {
    return name == "system.posix_acl_access" ? 1 : name == "system.posix_acl_default" ? 2 : NEITHER;
  }
  struct Known {
    FileTime changed;
    int kinds = NEITHER;
  };

  std::unordered_map<InodeId, Known> known_;
};

}  // namespace cairn
