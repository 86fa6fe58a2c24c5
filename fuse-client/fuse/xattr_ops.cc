// Extended attributes, POSIX ACLs among them: the kernel reads and sets these as it checks and shows permissions.
#include <sys/xattr.h>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

constexpr const char* CAPABILITY = "security.capability";

bool served(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("trusted.") || name.starts_with("security.") ||
         name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

}  // namespace

void Operations::addXattrOps(fuse_lowlevel_ops& table) {
  table.getxattr = [](fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
    if (!served(name)) {
      fuse_reply_err(request, EOPNOTSUPP);
      return;
    }
    run(request, "getxattr", node, name,
        [&](Operations& self, Request& r) { return self.getXattr(r, self.inodeOf(node), name, size); });
  };
  table.setxattr = [](fuse_req_t request, fuse_ino_t node, const char* name, const char* value, size_t size,
                      int flags) {
    if (!served(name)) {
      fuse_reply_err(request, EOPNOTSUPP);
      return;
    }
    run(request, "setxattr", node, name, [&](Operations& self, Request& r) {
      return self.setXattr(r, self.inodeOf(node), name, std::string(value, size), static_cast<uint32_t>(flags));
    });
  };
  table.removexattr = [](fuse_req_t request, fuse_ino_t node, const char* name) {
    if (!served(name)) {
      fuse_reply_err(request, EOPNOTSUPP);
      return;
    }
    run(request, "removexattr", node, name,
        [&](Operations& self, Request& r) { return self.removeXattr(r, self.inodeOf(node), name); });
  };
  table.listxattr = [](fuse_req_t request, fuse_ino_t node, size_t size) {
    run(request, "listxattr", node,
        [&](Operations& self, Request& r) { return self.listXattr(r, self.inodeOf(node), size); });
  };
}

void Operations::sendXattr(Request& request, const std::string& bytes, size_t size) {
  if (size == 0) {
    request.xattrSize(bytes.size());
  } else if (bytes.size() > size) {
    request.fail(ERANGE);
  } else {
    request.bytes(bytes.data(), bytes.size());
  }
}

kj::Promise<Result<std::string>> Operations::askXattr(InodeId inode, const std::string& name, const Caller& caller) {
  kj::Promise<Result<std::string>> asked = client_.getXattr(inode, name, caller);
  if (inode != root_) {
    return asked;
  }
  auto remember = [this, name](Result<std::string>&& answer) {
    constexpr size_t REMEMBERED_MAX = 16;
    if (lastRootXattrs_.size() < REMEMBERED_MAX || lastRootXattrs_.contains(name)) {
      lastRootXattrs_.insert_or_assign(name, answer);
    }
    return kj::mv(answer);
  };
  auto last = [this, name]() -> Result<std::string> {
    auto known = lastRootXattrs_.find(name);
    return known == lastRootXattrs_.end() ? Error{ENODATA, "not known while no master answers"} : known->second;
  };
  return asked.then(kj::mv(remember)).exclusiveJoin(client_.whenCutOff().promise().then(kj::mv(last)));
}

Task<void> Operations::getXattr(Request& request, InodeId inode, std::string name, size_t size) {
  auto value = co_await askXattr(inode, name, caller(request));
  if (!value.ok()) {
    co_return request.fail(value.error());
  }
  sendXattr(request, value.value(), size);
}

Task<Status> Operations::dropCapability(InodeId inode) {
  Caller root;
  auto value = co_await client_.getXattr(inode, CAPABILITY, root);
  if (value.ok()) {
    co_return co_await client_.removeXattr(inode, CAPABILITY, root);
  }
  co_return value.code() == ENODATA ? Status() : value.error();
}

Task<void> Operations::setXattr(Request& request, InodeId inode, std::string name, std::string value, uint32_t flags) {
  auto status = co_await client_.setXattr(inode, name, value, flags, caller(request));
  request.finish(status);
}

Task<void> Operations::removeXattr(Request& request, InodeId inode, std::string name) {
  // The kernel takes capabilities from a file that anybody writes to; whether somebody may who asks for just that, it
  // has looked at itself.
  Caller who = name == CAPABILITY ? Caller{} : caller(request);
  auto status = co_await client_.removeXattr(inode, name, who);
  request.finish(status);
}

Task<void> Operations::listXattr(Request& request, InodeId inode, size_t size) {
  kj::Promise<Result<std::string>> asked = client_.listXattr(inode, caller(request));
  if (inode == root_) {
    auto none = [] { return Result<std::string>(std::string()); };
    asked = asked.exclusiveJoin(client_.whenCutOff().promise().then(kj::mv(none)));
  }
  auto names = co_await kj::mv(asked);
  if (!names.ok()) {
    co_return request.fail(names.error());
  }
  std::string visible = kj::mv(names).value();
  if (request.context().uid != 0) {  // trusted.* are the administrator's
    std::string filtered;
    for (size_t at = 0; at < visible.size();) {
      std::string name = visible.c_str() + at;
      at += name.size() + 1;
      if (!name.starts_with("trusted.")) {
        filtered += name;
        filtered += '\0';
      }
    }
    visible = filtered;
  }
  sendXattr(request, visible, size);
}

}  // namespace cairn
