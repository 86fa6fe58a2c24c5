// Names: lookup and forget, and what makes, moves and removes them.
#include <sys/stat.h>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

constexpr size_t NAME_BYTES_MAX = 255;

bool tooLong(const std::string& name) {
  return name.size() > NAME_BYTES_MAX;
}
Error nameTooLong() {
  return Error{ENAMETOOLONG, "a name has at most 255 bytes"};
}

}  // namespace

void Operations::addEntryOps(fuse_lowlevel_ops& table) {
  table.lookup = [](fuse_req_t request, fuse_ino_t parent, const char* name) {
    run(request, "lookup", parent, name,
        [&](Operations& self, Request& r) { return self.lookup(r, self.inodeOf(parent), name); });
  };
  table.forget = [](fuse_req_t request, fuse_ino_t node, uint64_t count) {
    Operations& self = of(request);
    self.forget(self.inodeOf(node), count);
    fuse_reply_none(request);
  };
  table.forget_multi = [](fuse_req_t request, size_t count, fuse_forget_data* forgets) {
    Operations& self = of(request);
    for (size_t i = 0; i < count; i++) {
      self.forget(self.inodeOf(forgets[i].ino), forgets[i].nlookup);
    }
    fuse_reply_none(request);
  };
  table.mknod = [](fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
    run(request, "mknod", parent, name, [&](Operations& self, Request& r) {
      return self.makeNode(r, self.inodeOf(parent), name, mode, static_cast<uint32_t>(device));
    });
  };
  table.mkdir = [](fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
    run(request, "mkdir", parent, name,
        [&](Operations& self, Request& r) { return self.makeDirectory(r, self.inodeOf(parent), name, mode); });
  };
  table.symlink = [](fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
    run(request, "symlink", parent, name,
        [&](Operations& self, Request& r) { return self.symlink(r, self.inodeOf(parent), name, target); });
  };
  table.link = [](fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
    run(request, "link", node, name,
        [&](Operations& self, Request& r) { return self.link(r, self.inodeOf(node), self.inodeOf(parent), name); });
  };
  table.unlink = [](fuse_req_t request, fuse_ino_t parent, const char* name) {
    run(request, "unlink", parent, name,
        [&](Operations& self, Request& r) { return self.unlink(r, self.inodeOf(parent), name); });
  };
  table.rmdir = [](fuse_req_t request, fuse_ino_t parent, const char* name) {
    run(request, "rmdir", parent, name,
        [&](Operations& self, Request& r) { return self.removeDirectory(r, self.inodeOf(parent), name); });
  };
  table.rename = [](fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t newParent, const char* newName,
                    unsigned flags) {
    run(request, "rename", parent, name, [&](Operations& self, Request& r) {
      return self.rename(r, self.inodeOf(parent), name, self.inodeOf(newParent), newName, flags);
    });
  };
  table.readlink = [](fuse_req_t request, fuse_ino_t node) {
    run(request, "readlink", node, [&](Operations& self, Request& r) { return self.readLink(r, self.inodeOf(node)); });
  };
}

Task<void> Operations::lookup(Request& request, InodeId parent, std::string name) {
  if (tooLong(name)) {
    co_return request.fail(ENAMETOOLONG);
  }
  if (name == "." || name == "..") {  // by file handle (NFS export), not by path
    auto here = co_await client_.attributes(parent);
    if (!here.ok() || name == "." || parent == root_) {
      co_return here.ok() ? sendEntry(request, parent, name, here.value()) : request.fail(here.error());
    }
    auto above = co_await client_.attributes(here.value().parent);
    co_return above.ok() ? sendEntry(request, parent, name, above.value()) : request.fail(above.error());
  }
  auto found = co_await client_.lookup(parent, name, caller(request));
  if (found.ok()) {
    co_return sendEntry(request, parent, name, found.value());
  }
  fuse_entry_param absent{};
  absent.entry_timeout = found.code() == ENOENT ? nameSeconds(parent, name, options_.negativeTimeout) : 0;
  if (absent.entry_timeout == 0) {
    co_return request.fail(found.error());
  }
  request.entry(absent);
}

Task<void> Operations::makeNode(Request& request, InodeId parent, std::string name, uint32_t mode, uint32_t device) {
  if (tooLong(name)) {
    co_return request.fail(nameTooLong());
  }
  auto made = co_await client_.makeNode(parent, name, mode, device, caller(request));
  co_return made.ok() ? sendEntry(request, parent, name, made.value()) : request.fail(made.error());
}

Task<void> Operations::makeDirectory(Request& request, InodeId parent, std::string name, uint32_t mode) {
  if (tooLong(name)) {
    co_return request.fail(nameTooLong());
  }
  auto made = co_await client_.makeDirectory(parent, name, mode, caller(request));
  co_return made.ok() ? sendEntry(request, parent, name, made.value()) : request.fail(made.error());
}

Task<void> Operations::symlink(Request& request, InodeId parent, std::string name, std::string target) {
  if (tooLong(name)) {
    co_return request.fail(nameTooLong());
  }
  auto made = co_await client_.symlink(parent, name, target, caller(request));
  co_return made.ok() ? sendEntry(request, parent, name, made.value()) : request.fail(made.error());
}

Task<void> Operations::link(Request& request, InodeId inode, InodeId parent, std::string name) {
  if (tooLong(name)) {
    co_return request.fail(nameTooLong());
  }
  auto linked = co_await client_.link(inode, parent, name, caller(request));
  co_return linked.ok() ? sendEntry(request, parent, name, linked.value()) : request.fail(linked.error());
}

Task<void> Operations::unlink(Request& request, InodeId parent, std::string name) {
  auto status = co_await client_.unlink(parent, name, caller(request));
  request.finish(status);
}

Task<void> Operations::removeDirectory(Request& request, InodeId parent, std::string name) {
  auto status = co_await client_.removeDirectory(parent, name, caller(request));
  request.finish(status);
}

Task<void> Operations::rename(Request& request, InodeId parent, std::string name, InodeId newParent,
                              std::string newName, uint32_t flags) {
  if (tooLong(newName)) {
    co_return request.fail(nameTooLong());
  }
  auto status = co_await client_.rename(parent, name, newParent, newName, flags, caller(request));
  request.finish(status);
}

Task<void> Operations::readLink(Request& request, InodeId inode) {
  auto target = co_await client_.readLink(inode, caller(request));
  co_return target.ok() ? request.link(target.value().c_str()) : request.fail(target.error());
}

}  // namespace cairn
