// The client library's face over MemoryFiles: linked instead of the library it makes dfs-mount-memory, a mount
// without a cluster. Answers after a turn of the event loop, as an answer from afar would come. Three names are
// special: looking up "stuck" never ends, "slow" takes a second, "broken" throws.
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>

#include "fuse-client/client/client.h"
#include "tests/mount/memory/memory_files.h"
#include "tests/mount/memory/memory_locks.h"

namespace cairn {
namespace {

Error error(int code) {
  return Error{code, "refused"};
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(Clock& clock) : clock(clock), files(clock.wall()) {}

  // A turn of the loop later, with the time set.
  kj::Promise<void> turn() {
    return kj::evalLater([this] { files.setNow(clock.wall()); });
  }
  Result<Attributes> attributes(InodeId inode) {
    MemoryInode* found = files.find(inode);
    if (found == nullptr) {
      return error(ENOENT);
    }
    return found->attributes;
  }
  struct Handle {
    InodeId inode{};
    uint32_t bits = 0;
  };
  MemoryInode& file(HandleId handle) { return *files.find(handles.at(raw(handle)).inode); }
  HandleId open(InodeId inode, uint32_t bits) {
    files.find(inode)->opens++;
    handles[++lastHandle] = Handle{inode, bits};
    return HandleId{lastHandle};
  }
  void touch(MemoryInode& inode) { inode.attributes.modified = inode.attributes.changed = files.now(); }

  Clock& clock;
  MemoryFiles files;
  MemoryLocks locks;
  std::map<uint64_t, Handle> handles;
  uint64_t lastHandle = 0;
};

Client::Client(Clock& clock, Network&, Random&, ClusterFile, ClientOptions) : impl_(kj::heap<Impl>(clock)) {}
Client::~Client() noexcept(false) = default;

// Files in memory end with their process: nobody succeeds it.
void Client::setLedger(Ledger&) {}
void Client::takeUp(const Inheritance&) {}
void Client::expectOnly(const std::set<uint64_t>&) {}

Task<Status> Client::start() {
  co_return Status();
}
Task<Status> Client::stop() {
  co_return Status();
}
Task<Status> Client::syncAll() {
  co_return Status();
}
ClientStats Client::stats() const {
  return {};
}
std::vector<Wait> Client::waits() const {
  return {};
}
std::optional<std::string> Client::answered(const char*, InodeId, Nanos, bool) {
  return std::nullopt;
}
LeaderStanding Client::master() const {
  return {};
}
std::string Client::nameOf(InodeId) {
  return {};
}
Task<void> Client::whenCutOff() {
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

Task<Result<Attributes>> Client::lookup(InodeId parent, std::string name, Caller) {
  co_await impl_->turn();
  if (name == "stuck") {
    co_await kj::Promise<void>(kj::NEVER_DONE);
  } else if (name == "slow") {
    co_await impl_->clock.after(SECOND);
  }
  KJ_REQUIRE(name != "broken", "as asked for by a test");
  auto found = impl_->files.lookup(parent, name);
  co_return found.ok() ? impl_->attributes(found.value()) : found.error();
}

Task<Result<Attributes>> Client::makeNode(InodeId parent, std::string name, uint32_t mode, uint32_t device,
                                          Caller caller) {
  co_await impl_->turn();
  auto made = impl_->files.make(parent, name, mode, caller);
  if (!made.ok()) {
    co_return made.error();
  }
  impl_->files.find(made.value())->attributes.device = device;
  co_return impl_->attributes(made.value());
}

Task<Result<Attributes>> Client::makeDirectory(InodeId parent, std::string name, uint32_t mode, Caller caller) {
  co_return co_await makeNode(parent, name, S_IFDIR | mode, 0, caller);
}

Task<Result<Attributes>> Client::symlink(InodeId parent, std::string name, std::string target, Caller caller) {
  co_await impl_->turn();
  auto made = impl_->files.make(parent, name, S_IFLNK | 0777, caller);
  if (!made.ok()) {
    co_return made.error();
  }
  MemoryInode& inode = *impl_->files.find(made.value());
  inode.target = target;
  inode.attributes.sizeBytes = target.size();
  co_return inode.attributes;
}

Task<Result<Attributes>> Client::link(InodeId inode, InodeId parent, std::string name, Caller) {
  co_await impl_->turn();
  auto linked = impl_->files.link(inode, parent, name);
  co_return linked.ok() ? impl_->attributes(inode) : linked.error();
}

Task<Status> Client::unlink(InodeId parent, std::string name, Caller) {
  co_await impl_->turn();
  co_return impl_->files.remove(parent, name, false);
}

Task<Status> Client::removeDirectory(InodeId parent, std::string name, Caller) {
  co_await impl_->turn();
  co_return impl_->files.remove(parent, name, true);
}

Task<Status> Client::rename(InodeId parent, std::string name, InodeId newParent, std::string newName, uint32_t flags,
                            Caller caller) {
  co_await impl_->turn();
  auto renamed = impl_->files.rename(parent, name, newParent, newName, flags);
  if (renamed.ok() && (flags & RENAME_WHITEOUT) != 0) {
    auto left = impl_->files.make(parent, name, S_IFCHR, caller);
    KJ_ASSERT(left.ok());
  }
  co_return renamed;
}

Task<Result<std::string>> Client::readLink(InodeId inode, Caller) {
  co_await impl_->turn();
  co_return impl_->files.find(inode)->target;
}

Task<Result<DirectoryPage>> Client::readDirectory(InodeId inode, uint64_t cookie, uint32_t entriesMax,
                                                  bool withAttributes, Caller) {
  co_await impl_->turn();
  MemoryInode* directory = impl_->files.find(inode);
  DirectoryPage page;
  std::map<uint64_t, std::string> order;
  if (directory != nullptr) {
    for (const auto& [name, entry] : directory->entries) {
      order[entry.cookie] = name;
    }
  }
  auto at = order.upper_bound(cookie);
  for (; at != order.end() && page.entries.size() < entriesMax; ++at) {
    DirectoryEntry entry;
    entry.name = at->second;
    entry.inode = directory->entries[at->second].inode;
    entry.attributes = impl_->files.find(entry.inode)->attributes;
    entry.mode = entry.attributes.mode;
    entry.hasAttributes = withAttributes;
    entry.next = at->first;
    page.entries.push_back(entry);
  }
  page.end = at == order.end();
  co_return page;
}

// There is no other client.
Nanos Client::believed(InodeId) { return SECOND; }
Nanos Client::believed(InodeId, const std::string&) { return SECOND; }
void Client::setListener(CacheListener*) {}

bool Client::movesAccessTime(InodeId) { return false; }

Task<Result<Attributes>> Client::attributes(InodeId inode, bool) {
  co_await impl_->turn();
  co_return impl_->attributes(inode);
}

Task<Result<Attributes>> Client::setAttributes(InodeId inode, AttributeChange change, Caller) {
  co_await impl_->turn();
  MemoryInode* found = impl_->files.find(inode);
  if (found == nullptr) {
    co_return error(ENOENT);
  }
  Attributes& attributes = found->attributes;
  auto wanted = [&](uint32_t bit) { return (change.which & bit) != 0; };
  FileTime now = impl_->files.now();
  attributes.mode = wanted(SET_MODE) ? (attributes.mode & S_IFMT) | (change.mode & 07777) : attributes.mode;
  attributes.uid = wanted(SET_UID) ? change.uid : attributes.uid;
  attributes.gid = wanted(SET_GID) ? change.gid : attributes.gid;
  if (wanted(SET_UID | SET_GID) && !S_ISDIR(attributes.mode)) {
    attributes.mode &= ~(S_ISUID | ((attributes.mode & S_IXGRP) != 0 ? S_ISGID : 0u));
  }
  if (wanted(SET_SIZE)) {
    found->resize(change.sizeBytes);
    attributes.modified = now;
  }
  attributes.accessed = wanted(SET_ACCESSED_NOW) ? now : wanted(SET_ACCESSED) ? change.accessed : attributes.accessed;
  attributes.modified = wanted(SET_MODIFIED_NOW) ? now : wanted(SET_MODIFIED) ? change.modified : attributes.modified;
  attributes.changed = now;
  co_return attributes;
}

Task<Result<std::string>> Client::getXattr(InodeId inode, std::string name, Caller) {
  co_await impl_->turn();
  auto& xattrs = impl_->files.find(inode)->xattrs;
  auto found = xattrs.find(name);
  if (found == xattrs.end()) {
    co_return error(ENODATA);
  }
  co_return found->second;
}

Task<Status> Client::setXattr(InodeId inode, std::string name, std::string value, uint32_t flags, Caller) {
  co_await impl_->turn();
  if (name.starts_with("system.")) {
    co_return error(EOPNOTSUPP);
  }
  auto& xattrs = impl_->files.find(inode)->xattrs;
  bool there = xattrs.contains(name);
  if ((there && flags == XATTR_CREATE) || (!there && flags == XATTR_REPLACE)) {
    co_return error(there ? EEXIST : ENODATA);
  }
  xattrs[name] = value;
  impl_->files.find(inode)->attributes.changed = impl_->files.now();
  co_return Status();
}

Task<Status> Client::removeXattr(InodeId inode, std::string name, Caller) {
  co_await impl_->turn();
  co_return impl_->files.find(inode)->xattrs.erase(name) == 0 ? Status(error(ENODATA)) : Status();
}

Task<Result<std::string>> Client::listXattr(InodeId inode, Caller) {
  co_await impl_->turn();
  std::string names;
  for (const auto& [name, value] : impl_->files.find(inode)->xattrs) {
    names += name + '\0';
  }
  co_return names;
}

Task<Result<SpaceInfo>> Client::space(InodeId) {
  co_await impl_->turn();
  constexpr uint64_t BYTES = uint64_t{1} << 40;
  co_return SpaceInfo{BYTES, BYTES / 2, 100, 1000000};
}

HandleId Client::open(InodeId inode, uint32_t openBits) {
  return impl_->open(inode, openBits);
}

Task<Result<Client::Created>> Client::create(InodeId parent, std::string name, uint32_t mode, uint32_t openBits,
                                             Caller caller) {
  co_await impl_->turn();
  if (name.empty()) {
    co_return error(EOPNOTSUPP);
  }
  auto made = impl_->files.make(parent, name, S_IFREG | mode, caller);
  if (!made.ok()) {
    co_return made.error();
  }
  Created created;
  created.handle = impl_->open(made.value(), openBits);
  created.attributes = impl_->files.find(made.value())->attributes;
  co_return created;
}

void Client::release(HandleId handle) {
  InodeId inode = impl_->handles.at(raw(handle)).inode;
  impl_->handles.erase(raw(handle));
  impl_->locks.release(inode, handle);
  impl_->files.find(inode)->opens--;
  impl_->files.dropIfUnused(inode);
}

Task<Result<ReadData>> Client::read(HandleId handle, uint64_t offset, uint32_t length) {
  co_await impl_->turn();
  auto bytes = kj::heap<std::string>(impl_->file(handle).read(offset, length));
  auto part = kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes->data()), bytes->size());
  ReadData data;
  data.add(part, kj::mv(bytes));
  co_return kj::mv(data);
}

Task<Result<uint64_t>> Client::write(HandleId handle, uint64_t offset, kj::ArrayPtr<const kj::byte> data,
                                     bool inPlace) {
  co_await impl_->turn();
  MemoryInode& inode = impl_->file(handle);
  bool append = (impl_->handles.at(raw(handle)).bits & OPEN_APPEND) != 0 && !inPlace;
  inode.write(append ? inode.attributes.sizeBytes : offset, data);
  impl_->touch(inode);
  co_return data.size();
}

Task<Status> Client::lock(HandleId handle, LockWish wish) {
  co_await impl_->turn();
  co_return impl_->locks.lock(impl_->handles.at(raw(handle)).inode, handle, wish);
}

Task<Status> Client::awaitLock(HandleId handle, LockWish wish) {
  co_return co_await impl_->locks.await(impl_->handles.at(raw(handle)).inode, wish);
}

Task<Result<LockWish>> Client::testLock(HandleId handle, LockWish wish) {
  co_await impl_->turn();
  co_return impl_->locks.test(impl_->handles.at(raw(handle)).inode, wish);
}

Task<Status> Client::unlockAll(HandleId handle, uint64_t owner) {
  impl_->locks.unlockAll(impl_->handles.at(raw(handle)).inode, false, owner);
  co_return Status();
}

Task<Status> Client::flush(HandleId) {
  co_return Status();
}
Task<Status> Client::fsync(HandleId, bool) {
  co_return Status();
}
Task<Status> Client::fsyncDirectory(HandleId) {
  co_return Status();
}

Task<Status> Client::allocate(HandleId handle, AllocateMode mode, uint64_t offset, uint64_t length) {
  co_await impl_->turn();
  MemoryInode& inode = impl_->file(handle);
  bool clears = mode != AllocateMode::ALLOCATE && mode != AllocateMode::KEEP_SIZE;
  bool grows = mode == AllocateMode::ALLOCATE || mode == AllocateMode::ZERO;
  if (clears) {
    inode.clear(offset, length);
  }
  if (grows) {
    inode.attributes.sizeBytes = std::max(inode.attributes.sizeBytes, offset + length);
  }
  impl_->touch(inode);
  co_return Status();
}

Task<Result<uint64_t>> Client::seek(HandleId handle, uint64_t offset, Whence whence) {
  co_await impl_->turn();
  const MemoryInode& inode = impl_->file(handle);
  uint64_t size = inode.attributes.sizeBytes;
  uint64_t found = inode.seek(offset, whence == Whence::DATA);
  if (offset >= size || (whence == Whence::DATA && found >= size)) {
    co_return error(ENXIO);
  }
  co_return found;
}

Task<Result<uint64_t>> Client::copyRange(HandleId from, uint64_t fromOffset, HandleId to, uint64_t toOffset,
                                         uint64_t length) {
  co_await impl_->turn();
  auto bytes = impl_->file(from).read(fromOffset, length);
  MemoryInode& inode = impl_->file(to);
  inode.write(toOffset, kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
  impl_->touch(inode);
  co_return bytes.size();
}

}  // namespace cairn
