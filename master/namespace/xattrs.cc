// Extended attributes: names, values and who may see and change them, after Linux's xattr.c and capability rules.
#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/acl.h"
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {

constexpr uint32_t CREATE = 1;
constexpr uint32_t REPLACE = 2;

bool inSpace(std::string_view name, std::string_view space) {
  return name.starts_with(space);
}

// The two attributes that are none: the lists are kept in the inode, where permission is asked.
Status setAcl(const Credentials& caller, InodeRecord& inode, std::string_view name, std::string_view value) {
  auto acl = Acl::parse(value);
  if (!acl.ok()) {
    return acl.error();
  }
  if (name == DEFAULT_ACL_XATTR) {
    if (!S_ISDIR(inode.mode) && !acl.value().empty()) {
      return Error{EACCES, "only a directory has a default list"};
    }
    inode.defaultAcl = acl.value().value();
    return {};
  }
  inode.accessAcl.clear();
  if (!acl.value().empty()) {
    inode.mode = (inode.mode & ~uint32_t{ACCESSPERMS}) | acl.value().permissions();
    inode.accessAcl = acl.value().isMinimal() ? std::string() : acl.value().value();
    if (!caller.isRoot() && !caller.inGroup(inode.gid)) {
      inode.mode &= ~static_cast<uint32_t>(S_ISGID);
    }
  }
  return {};
}

Status mayWriteAcl(const Credentials& caller, const InodeRecord& inode) {
  if (S_ISLNK(inode.mode)) {
    return Error{EOPNOTSUPP, "a symlink has no permissions"};
  }
  return caller.owns(inode) ? Status() : Status(Error{EPERM, {}});
}

Status mayWriteXattr(const Credentials& caller, const InodeRecord& inode, std::string_view name) {
  if (isAclXattr(name)) {
    return mayWriteAcl(caller, inode);
  }
  if (inSpace(name, "trusted.") || inSpace(name, "security.")) {
    return caller.isRoot() ? Status() : Status(Error{EPERM, {}});
  }
  if (!S_ISREG(inode.mode) && !S_ISDIR(inode.mode)) {
    return Error{EPERM, {}};
  }
  if (S_ISDIR(inode.mode) && (inode.mode & S_ISVTX) != 0 && !caller.owns(inode)) {
    return Error{EPERM, {}};
  }
  return may(caller, inode, MAY_WRITE) ? Status() : Status(Error{EACCES, {}});
}

bool hasXattr(const Store& store, const InodeRecord& inode, std::string_view name) {
  if (name == ACCESS_ACL_XATTR) {
    return !inode.accessAcl.empty();
  }
  return name == DEFAULT_ACL_XATTR ? !inode.defaultAcl.empty() : store.has(keys::xattr(inode.id, name));
}

// The checks that setting and removing have in common.
Status reachXattr(Execution& execution, const Requester& client, uint64_t id, std::string_view name,
                  InodeRecord& inode) {
  auto reached = reach(execution.store, InodeId{id}, inode);
  if (!reached.ok()) {
    return reached;
  }
  auto named = checkXattrName(name);
  if (named.ok() && inSpace(name, OWN_XATTRS)) {
    return Error{EPERM, "what CairnFS says of a file can't be set"};
  }
  return named.ok() ? mayWriteXattr(client.caller, inode, name) : kj::mv(named);
}

void finish(Execution& execution, InodeRecord& inode, wire::Reply::Builder reply) {
  inode.changed = execution.now();
  save(execution, inode);
  writeAttributes(execution, inode, reply.initAttributes());
}

}  // namespace

Status checkXattrName(std::string_view name) {
  if (name.empty() || name.size() > XATTR_NAME_BYTES_MAX) {
    return Error{ERANGE, "length of the attribute's name"};
  }
  if (name.find('\0') != name.npos) {
    return Error{EINVAL, "zero byte in an attribute's name"};
  }
  if (isAclXattr(name)) {
    return {};
  }
  for (std::string_view space : {"user.", "trusted.", "security."}) {
    if (inSpace(name, space)) {
      return name.size() > space.size() ? Status() : Status(Error{EINVAL, "nothing after the attribute's prefix"});
    }
  }
  return Error{EOPNOTSUPP, "unknown attribute prefix"};
}

Status mayReadXattr(const Credentials& caller, const InodeRecord& inode, std::string_view name) {
  if (isAclXattr(name)) {
    return S_ISLNK(inode.mode) ? Status(Error{EOPNOTSUPP, {}}) : Status();
  }
  if (inSpace(name, "security.")) {
    return {};
  }
  if (inSpace(name, "trusted.")) {
    return caller.isRoot() ? Status() : Status(Error{ENODATA, {}});
  }
  if (!S_ISREG(inode.mode) && !S_ISDIR(inode.mode)) {
    return Error{ENODATA, {}};
  }
  return may(caller, inode, MAY_READ) ? Status() : Status(Error{EACCES, {}});
}

Status setXattr(Execution& execution, const Requester& client, wire::Op::SetXattr::Reader op,
                wire::Reply::Builder reply) {
  auto name = viewOf(op.getName());
  auto value = viewOf(op.getValue());
  if ((op.getFlags() & ~(CREATE | REPLACE)) != 0) {
    return Error{EINVAL, "unknown flags"};
  }
  InodeRecord inode;
  auto reached = reachXattr(execution, client, op.getInode(), name, inode);
  if (!reached.ok()) {
    return reached;
  }
  if (value.size() > XATTR_VALUE_BYTES_MAX) {
    return Error{E2BIG, {}};
  }
  bool present = hasXattr(execution.store, inode, name);
  if (present && (op.getFlags() & CREATE) != 0) {
    return Error{EEXIST, {}};
  }
  if (!present && (op.getFlags() & REPLACE) != 0) {
    return Error{ENODATA, {}};
  }
  if (isAclXattr(name)) {
    auto set = setAcl(client.caller, inode, name, value);
    if (set.ok()) {
      finish(execution, inode, reply);
    }
    return set;
  }
  if (!present) {
    if (inode.xattrNameBytes + name.size() + 1 > XATTR_LIST_BYTES_MAX) {
      return Error{ENOSPC, "the attributes' names are too many to be listed"};
    }
    ++inode.xattrs;
    inode.xattrNameBytes += static_cast<uint32_t>(name.size() + 1);
  }
  execution.store.put(keys::xattr(inode.id, name), std::string(value));
  finish(execution, inode, reply);
  return {};
}

Status removeXattr(Execution& execution, const Requester& client, wire::Op::RemoveXattr::Reader op,
                   wire::Reply::Builder reply) {
  auto name = viewOf(op.getName());
  InodeRecord inode;
  auto reached = reachXattr(execution, client, op.getInode(), name, inode);
  if (!reached.ok()) {
    return reached;
  }
  if (isAclXattr(name)) {  // as in Linux, also when there is none
    (name == ACCESS_ACL_XATTR ? inode.accessAcl : inode.defaultAcl).clear();
    finish(execution, inode, reply);
    return {};
  }
  if (!execution.store.has(keys::xattr(inode.id, name))) {
    return Error{ENODATA, {}};
  }
  eraseXattr(execution, inode, name);
  finish(execution, inode, reply);
  return {};
}

void eraseXattr(Execution& execution, InodeRecord& inode, std::string_view name) {
  if (execution.store.has(keys::xattr(inode.id, name))) {
    execution.store.erase(keys::xattr(inode.id, name));
    --inode.xattrs;
    inode.xattrNameBytes -= static_cast<uint32_t>(name.size() + 1);
  }
}

}  // namespace cairn
