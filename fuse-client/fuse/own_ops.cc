// The mount's own files: what the kernel asks of them, told apart from what it asks of the cluster's.
#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "fuse-client/fuse/operations.h"
#include "fuse-client/fuse/statx_out.h"

namespace cairn {
namespace {

constexpr double FOREVER = 86400;  // seconds that the kernel may believe what never changes

}  // namespace

// ---- telling apart ------------------------------------------------------------------------------

// In place of an operation that begins with a node.
template <typename... Rest, void (*fuse_lowlevel_ops::*Member)(fuse_req_t, fuse_ino_t, Rest...)>
struct Operations::Route<Member> {
  static void call(fuse_req_t request, fuse_ino_t node, Rest... rest) {
    static const fuse_lowlevel_ops CLUSTER = clusterTable();
    static const fuse_lowlevel_ops OWN = ownTable();
    auto operation = OwnFiles::has(node) ? OWN.*Member : CLUSTER.*Member;
    if (operation == nullptr) {
      fuse_reply_err(request, EPERM);
    } else {
      operation(request, node, rest...);
    }
  }
  static void add(fuse_lowlevel_ops& table) {
    if (table.*Member != nullptr) {
      table.*Member = &call;
    }
  }
};

// The same of one that goes on with a name in that directory; CODE: what it comes to with the name of ours.
template <typename... Rest, void (*fuse_lowlevel_ops::*Member)(fuse_req_t, fuse_ino_t, const char*, Rest...), int CODE>
struct Operations::NamedRoute<Member, CODE> {
  static void call(fuse_req_t request, fuse_ino_t parent, const char* name, Rest... rest) {
    if (of(request).own_.isDirectory(parent, name)) {
      fuse_reply_err(request, CODE);
    } else {
      Route<Member>::call(request, parent, name, rest...);
    }
  }
  static void add(fuse_lowlevel_ops& table) { table.*Member = &call; }
};

fuse_lowlevel_ops Operations::table() {
  using Ops = fuse_lowlevel_ops;
  Ops table = clusterTable();
  table.lookup = [](fuse_req_t request, fuse_ino_t parent, const char* name) {
    Operations& self = of(request);
    bool ours = self.own_.isDirectory(parent, name);
    ours ? self.sendOwnEntry(request, OwnFiles::FIRST_NODE) : Route<&Ops::lookup>::call(request, parent, name);
  };
  NamedRoute<&Ops::mknod, EEXIST>::add(table);
  NamedRoute<&Ops::mkdir, EEXIST>::add(table);
  NamedRoute<&Ops::create, EEXIST>::add(table);
  NamedRoute<&Ops::unlink, EPERM>::add(table);
  NamedRoute<&Ops::rmdir, EPERM>::add(table);
  table.rename = [](fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t newParent, const char* newName,
                    unsigned flags) {
    bool ours = of(request).own_.isDirectory(newParent, newName) || OwnFiles::has(newParent);
    ours ? static_cast<void>(fuse_reply_err(request, EPERM))
         : NamedRoute<&Ops::rename, EPERM>::call(request, parent, name, newParent, newName, flags);
  };
  Route<&Ops::getattr>::add(table);
  Route<&Ops::setattr>::add(table);
  Route<&Ops::statfs>::add(table);
  Route<&Ops::open>::add(table);
  Route<&Ops::read>::add(table);
  Route<&Ops::write>::add(table);
  Route<&Ops::flush>::add(table);
  Route<&Ops::fsync>::add(table);
  Route<&Ops::release>::add(table);
  Route<&Ops::fallocate>::add(table);
  Route<&Ops::lseek>::add(table);
  Route<&Ops::copy_file_range>::add(table);
  Route<&Ops::opendir>::add(table);
  Route<&Ops::readdir>::add(table);
  Route<&Ops::readdirplus>::add(table);
  Route<&Ops::releasedir>::add(table);
  Route<&Ops::fsyncdir>::add(table);
  Route<&Ops::getlk>::add(table);
  Route<&Ops::setlk>::add(table);
  Route<&Ops::flock>::add(table);
  Route<&Ops::getxattr>::add(table);
  Route<&Ops::setxattr>::add(table);
  Route<&Ops::listxattr>::add(table);
  Route<&Ops::removexattr>::add(table);
  return table;
}

// ---- answering ----------------------------------------------------------------------------------

fuse_lowlevel_ops Operations::ownTable() {
  fuse_lowlevel_ops table{};
  auto done = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); };
  auto synced = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(request, 0); };
  table.lookup = &ownLookup;
  table.getattr = &ownAttributes;
  table.open = &ownOpen;
  table.read = &ownRead;
  table.release = &ownRelease;
  table.flush = done;
  table.fsync = table.fsyncdir = synced;
  table.opendir = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) { fuse_reply_open(request, file); };
  table.releasedir = done;
  table.readdir = &ownReadDirectory;
  table.readdirplus = &ownReadDirectoryPlus;
  table.statfs = [](fuse_req_t request, fuse_ino_t) {
    struct statvfs nothing {};
    nothing.f_bsize = nothing.f_frsize = BLOCK_BYTES;
    nothing.f_namemax = 255;
    fuse_reply_statfs(request, &nothing);
  };
  table.getxattr = [](fuse_req_t request, fuse_ino_t, const char*, size_t) { fuse_reply_err(request, ENODATA); };
  table.listxattr = [](fuse_req_t request, fuse_ino_t, size_t size) {
    size == 0 ? fuse_reply_xattr(request, 0) : fuse_reply_buf(request, nullptr, 0);
  };
  table.lseek = [](fuse_req_t request, fuse_ino_t, off_t, int, fuse_file_info*) { fuse_reply_err(request, EINVAL); };
  table.copy_file_range = [](fuse_req_t request, fuse_ino_t, off_t, fuse_file_info*, fuse_ino_t, off_t, fuse_file_info*,
                             size_t, int) { fuse_reply_err(request, EOPNOTSUPP); };
  return table;
}

void Operations::sendOwnEntry(fuse_req_t request, fuse_ino_t node) {
  fuse_entry_param entry{};
  entry.ino = node;
  entry.attr = own_.statOf(node);
  entry.attr_timeout = entry.entry_timeout = FOREVER;
  fuse_reply_entry(request, &entry);
}

void Operations::ownLookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Operations& self = of(request);
  fuse_ino_t node = std::strcmp(name, ".") == 0 ? parent : OwnFiles::find(name);
  if (node == 0 || OwnFiles::isFile(parent)) {
    fuse_reply_err(request, ENOENT);
  } else {
    self.sendOwnEntry(request, node);
  }
}

void Operations::ownAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  Operations& self = of(request);
  auto stat = self.own_.statOf(node);
  if (self.arrival_.isExtended()) {
    auto out = statxOf(stat, stat.st_ctim, static_cast<Nanos>(FOREVER) * SECOND);
    fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
    return;
  }
  fuse_reply_attr(request, &stat, FOREVER);
}

void Operations::ownOpen(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Operations& self = of(request);
  if ((file->flags & O_ACCMODE) != O_RDONLY || !OwnFiles::isFile(node)) {
    fuse_reply_err(request, EACCES);
    return;
  }
  file->fh = self.own_.open(self.ownText(OwnFiles::fileOf(node), fuse_req_ctx(request)->uid));
  file->direct_io = 1;  // else the kernel would read no further than the size, which is 0
  if (fuse_reply_open(request, file) != 0) {
    self.own_.close(file->fh);
  }
}

void Operations::ownRead(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  const std::string* text = of(request).own_.text(file->fh);
  if (text == nullptr) {
    fuse_reply_err(request, EBADF);
    return;
  }
  size_t from = std::min(text->size(), static_cast<size_t>(offset));
  fuse_reply_buf(request, text->data() + from, std::min(size, text->size() - from));
}

void Operations::ownRelease(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  of(request).own_.close(file->fh);
  fuse_reply_err(request, 0);
}

namespace {

// All in one answer: there is little. `add` packs one entry and says how long it is.
template <typename Add>
void sendOwnNames(fuse_req_t request, size_t size, off_t offset, Add&& add) {
  std::string out(size, '\0');
  size_t used = 0;
  for (size_t i = static_cast<size_t>(offset); i < OwnFiles::NAMES.size() + 2; ++i) {
    fuse_ino_t node = i == 0 ? OwnFiles::FIRST_NODE : i == 1 ? FUSE_ROOT_ID : OwnFiles::nodeOf(i - 2);
    const char* name = i == 0 ? "." : i == 1 ? ".." : OwnFiles::NAMES[i - 2];
    size_t length = add(out.data() + used, size - used, name, node, static_cast<off_t>(i + 1));
    if (length > size - used) {
      break;
    }
    used += length;
  }
  fuse_reply_buf(request, out.data(), used);
}

}  // namespace

void Operations::ownReadDirectory(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  auto& own = of(request).own_;
  sendOwnNames(request, size, offset, [&](char* out, size_t room, const char* name, fuse_ino_t node, off_t next) {
    auto stat = own.statOf(node);
    return fuse_add_direntry(request, out, room, name, &stat, next);
  });
}

void Operations::ownReadDirectoryPlus(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  auto& own = of(request).own_;
  sendOwnNames(request, size, offset, [&](char* out, size_t room, const char* name, fuse_ino_t node, off_t next) {
    fuse_entry_param entry{};
    entry.attr = own.statOf(node);
    entry.ino = OwnFiles::isFile(node) ? node : 0;  // the kernel takes no attributes for "." and ".."
    entry.attr_timeout = entry.entry_timeout = FOREVER;
    return fuse_add_direntry_plus(request, out, room, name, &entry, next);
  });
}

}  // namespace cairn
