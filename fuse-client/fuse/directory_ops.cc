// Directories: opendir, readdir, readdirplus, releasedir, fsyncdir.
//
// An offset is the master's cookie plus 2: 0 is the start, 1 comes after ".", 2 after "..".
// Plain readdir is served from a page kept with the open directory, and the next page is asked for meanwhile.
// readdirplus asks the master each time:
// attributes from an earlier request could be older than what the kernel knows by now.
#include <sys/stat.h>

#include <algorithm>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

constexpr uint64_t COOKIE_OFFSET = 2;
constexpr uint32_t PAGE_ENTRIES = 1024;
constexpr Nanos PAGE_TRUST = SECOND;
// Bytes of an entry with a name of usual length, as readdirplus packs them; how many to ask for is a guess.
constexpr size_t PLUS_ENTRY_BYTES = 168;
constexpr size_t REPLY_BYTES_MAX = 1 << 20;

}  // namespace

void Operations::addDirectoryOps(fuse_lowlevel_ops& table) {
  table.opendir = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    run(request, "opendir", node,
        [&](Operations& self, Request& r) { return self.openDirectory(r, self.inodeOf(node), *file); });
  };
  table.readdir = [](fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file) {
    run(request, "readdir", node, [&](Operations& self, Request& r) {
      return self.readDirectory(r, file->fh, static_cast<uint64_t>(offset), size, false);
    });
  };
  table.readdirplus = [](fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* file) {
    run(request, "readdirplus", node, [&](Operations& self, Request& r) {
      return self.readDirectory(r, file->fh, static_cast<uint64_t>(offset), size, true);
    });
  };
  table.releasedir = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
    Operations& self = of(request);
    if (self.noteClosed(HandleId{file->fh})) {
      self.directories_.erase(file->fh);
      self.client_.release(HandleId{file->fh});
    }
    fuse_reply_err(request, 0);
  };
  table.fsyncdir = [](fuse_req_t request, fuse_ino_t node, int, fuse_file_info* file) {
    run(request, "fsyncdir", node,
        [&](Operations& self, Request& r) { return self.fsyncDirectory(r, HandleId{file->fh}); });
  };
}

Task<void> Operations::openDirectory(Request& request, InodeId inode, fuse_file_info file) {
  auto found = co_await client_.attributes(inode);
  if (!found.ok()) {
    co_return request.fail(found.error());
  }
  if (!S_ISDIR(found.value().mode)) {
    co_return request.fail(ENOTDIR);
  }
  if (request.answered()) {
    co_return;
  }
  HandleId handle = client_.open(inode, OPEN_DIRECTORY);
  file.fh = raw(handle);
  InodeId parent = inode == root_ ? root_ : found.value().parent;
  noteOpen(request, handle, inode, parent, OPEN_DIRECTORY);
  if (!request.opened(file)) {
    noteClosed(handle);
    client_.release(handle);
    co_return;
  }
  Directory& directory = directories_[raw(handle)];
  directory.inode = inode;
  directory.parent = parent;
}

// Moves to the entry after `cookie` if the kept page has it.
bool Operations::positionAt(Directory& directory, uint64_t cookie) {
  if (cookie == 0 || !directory.filled || clock_.monotonic() - directory.fetchedAt > PAGE_TRUST) {
    return false;
  }
  const auto& entries = directory.page.entries;
  uint64_t before = directory.start;
  for (size_t i = 0; i <= entries.size(); i++) {
    if (before == cookie) {
      directory.at = i;
      return i < entries.size() || directory.page.end;
    }
    before = i < entries.size() ? entries[i].next : before;
  }
  return false;
}

size_t Operations::addDot(Request& request, char* out, size_t room, const char* name, InodeId inode, off_t next,
                          bool plus) {
  fuse_entry_param entry{};  // no node id: the kernel takes no attributes for these two
  entry.attr.st_ino = raw(inode);
  entry.attr.st_mode = S_IFDIR;
  return plus ? fuse_add_direntry_plus(request.raw(), out, room, name, &entry, next)
              : fuse_add_direntry(request.raw(), out, room, name, &entry.attr, next);
}

size_t Operations::addEntry(Request& request, InodeId directory, kj::ArrayPtr<char> room, const DirectoryEntry& entry,
                            bool plus) {
  off_t next = static_cast<off_t>(entry.next + COOKIE_OFFSET);
  fuse_entry_param param{};
  if (plus && entry.hasAttributes) {
    param = entryOf(directory, entry.name, entry.attributes);
  } else {
    param.attr.st_ino = raw(entry.inode);
    param.attr.st_mode = entry.mode;
  }
  const char* name = entry.name.c_str();
  return plus ? fuse_add_direntry_plus(request.raw(), room.begin(), room.size(), name, &param, next)
              : fuse_add_direntry(request.raw(), room.begin(), room.size(), name, &param.attr, next);
}

Task<void> Operations::readDirectory(Request& request, uint64_t handle, uint64_t offset, size_t size, bool plus) {
  auto found = directories_.find(handle);
  if (found == directories_.end()) {
    co_return request.fail(EBADF);
  }
  uint64_t cookie = offset < COOKIE_OFFSET ? 0 : offset - COOKIE_OFFSET;
  InodeId inode = found->second.inode;
  bool kept = !plus && positionAt(found->second, cookie);
  if (kept) {
    co_return sendPage(request, found->second, offset, size, false);
  }
  Caller who = caller(request);
  if (plus) {
    Directory once;
    once.inode = inode;
    once.parent = found->second.parent;
    uint32_t wanted = static_cast<uint32_t>(size / PLUS_ENTRY_BYTES + 1);
    auto page = co_await client_.readDirectory(inode, cookie, wanted, true, who);
    if (!page.ok()) {
      co_return request.fail(page.error());
    }
    once.page = kj::mv(page).value();
    co_return sendPage(request, once, offset, size, true);
  }
  auto page = co_await nextPage(found->second, cookie, who);
  if (!page.ok()) {
    co_return request.fail(page.error());
  }
  auto again = directories_.find(handle);
  if (request.answered() || again == directories_.end()) {
    co_return request.fail(EBADF);
  }
  Directory& directory = again->second;
  directory.page = kj::mv(page).value();
  directory.start = cookie;
  directory.at = 0;
  directory.filled = true;
  fetchAhead(directory, who);
  sendPage(request, directory, offset, size, false);
}

kj::Promise<Result<DirectoryPage>> Operations::nextPage(Directory& directory, uint64_t cookie, const Caller& caller) {
  KJ_IF_MAYBE(ahead, directory.ahead) {
    auto page = kj::mv(*ahead);
    directory.ahead = nullptr;
    if (directory.aheadAfter == cookie && clock_.monotonic() - directory.aheadFetchedAt < PAGE_TRUST) {
      directory.fetchedAt = directory.aheadFetchedAt;
      return page;
    }
  }
  directory.fetchedAt = clock_.monotonic();
  return client_.readDirectory(directory.inode, cookie, PAGE_ENTRIES, false, caller);
}

void Operations::fetchAhead(Directory& directory, const Caller& caller) {
  if (directory.page.end || directory.page.entries.empty()) {
    return;
  }
  directory.aheadAfter = directory.page.entries.back().next;
  directory.aheadFetchedAt = clock_.monotonic();
  kj::Promise<Result<DirectoryPage>> page =
      client_.readDirectory(directory.inode, directory.aheadAfter, PAGE_ENTRIES, false, caller);
  directory.ahead = page.eagerlyEvaluate(nullptr);
}

size_t Operations::addDots(Request& request, const Directory& directory, kj::ArrayPtr<char> out, uint64_t offset,
                           bool plus) {
  size_t used = 0;
  if (offset == 0) {
    used += addDot(request, out.begin(), out.size(), ".", directory.inode, 1, plus);
  }
  if (offset <= 1) {
    used += addDot(request, out.begin() + used, out.size() - used, "..", directory.parent, COOKIE_OFFSET, plus);
  }
  return used;
}

void Operations::sendPage(Request& request, Directory& directory, uint64_t offset, size_t size, bool plus) {
  auto out = kj::heapArray<char>(std::min(size, REPLY_BYTES_MAX));
  size_t used = addDots(request, directory, out, offset, plus);
  const auto& entries = directory.page.entries;
  // What the kernel doesn't get, for the reader is gone, is taken back.
  auto tell = [&](const DirectoryEntry& entry) {
    if (plus && entry.hasAttributes) {
      told(entry.attributes);
    }
  };
  auto takeBack = [&](const DirectoryEntry& entry) {
    bool shadowed = directory.inode == root_ && own_.isShadowed(entry.name);
    if (plus && entry.hasAttributes && !shadowed) {
      forget(entry.inode, 1);
    }
  };
  size_t first = directory.at;
  for (; directory.at < entries.size(); directory.at++) {
    const DirectoryEntry& entry = entries[directory.at];
    if (directory.inode == root_ && own_.isShadowed(entry.name)) {
      continue;
    }
    size_t length = plus ? fuse_add_direntry_plus(request.raw(), nullptr, 0, entry.name.c_str(), nullptr, 0)
                         : fuse_add_direntry(request.raw(), nullptr, 0, entry.name.c_str(), nullptr, 0);
    if (length > out.size() - used) {
      break;
    }
    tell(entry);  // first, for it notes what the kernel is told
    used += addEntry(request, directory.inode, out.slice(used, out.size()), entry, plus);
  }
  bool delivered = request.bytes(out.begin(), used);
  for (size_t i = first; !delivered && i < directory.at; i++) {
    takeBack(entries[i]);
  }
}

Task<void> Operations::fsyncDirectory(Request& request, HandleId handle) {
  auto status = co_await client_.fsyncDirectory(handle);
  request.finish(status);
}

}  // namespace cairn
