#include "master/namespace/permissions.h"

#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/acl.h"

namespace cairn {

bool Credentials::inGroup(uint32_t gid) const {
  if (gid == gid_) {
    return true;
  }
  for (uint32_t group : groups_) {
    if (group == gid) {
      return true;
    }
  }
  return false;
}

bool may(const Credentials& caller, const InodeRecord& inode, unsigned wanted) {
  if (caller.isRoot()) {
    bool executable = S_ISDIR(inode.mode) || (inode.mode & 0111) != 0;
    return (wanted & MAY_SEARCH) == 0 || executable;
  }
  // As in Linux, nobody is looked up in a list that lets no group do anything: its mask is in these bits.
  if (!inode.accessAcl.empty() && caller.uid() != inode.uid && (inode.mode & S_IRWXG) != 0) {
    return Acl::stored(inode.accessAcl).allows(caller, inode.gid, wanted);
  }
  unsigned granted = inode.mode;
  if (caller.uid() == inode.uid) {
    granted >>= 6;
  } else if (caller.inGroup(inode.gid)) {
    granted >>= 3;
  }
  return (granted & wanted) == wanted;
}

Status mayAdd(const Credentials& caller, const InodeRecord& directory) {
  if (directory.links == 0) {
    return Error{ENOENT, "the directory was removed"};
  }
  return may(caller, directory, MAY_WRITE | MAY_SEARCH) ? Status() : Status(Error{EACCES, {}});
}

Status mayTake(const Credentials& caller, const InodeRecord& directory, const InodeRecord& victim, bool wantDirectory) {
  if (!may(caller, directory, MAY_WRITE | MAY_SEARCH)) {
    return Error{EACCES, {}};
  }
  if ((directory.mode & S_ISVTX) != 0 && !caller.owns(victim) && !caller.owns(directory)) {
    return Error{EPERM, {}};
  }
  if (wantDirectory != S_ISDIR(victim.mode)) {
    return Error{wantDirectory ? ENOTDIR : EISDIR, {}};
  }
  return directory.links == 0 ? Status(Error{ENOENT, "the directory was removed"}) : Status();
}

uint32_t withoutSetIds(uint32_t mode) {
  mode &= ~static_cast<uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) {
    mode &= ~static_cast<uint32_t>(S_ISGID);
  }
  return mode;
}

uint32_t inheritedMode(const Credentials& caller, uint32_t mode, uint32_t parentMode, uint32_t parentGid) {
  if ((parentMode & S_ISGID) == 0) {
    return mode;
  }
  if (S_ISDIR(mode)) {
    return mode | S_ISGID;
  }
  bool foreign = !caller.isRoot() && !caller.inGroup(parentGid);
  if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && foreign) {
    mode &= ~static_cast<uint32_t>(S_ISGID);
  }
  return mode;
}

Status checkName(std::string_view name) {
  if (name.empty()) {
    return Error{ENOENT, "empty name"};
  }
  if (name.size() > NAME_BYTES_MAX) {
    return Error{ENAMETOOLONG, {}};
  }
  bool forbidden = name.find('/') != name.npos || name.find('\0') != name.npos;
  return forbidden ? Status(Error{EINVAL, "slash or zero byte in a name"}) : Status();
}

bool isDots(std::string_view name) {
  return name == "." || name == "..";
}

}  // namespace cairn
