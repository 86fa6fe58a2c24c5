// The operations of Client on names and attributes: each one call to the master.
#include <sys/stat.h>

#include "fuse-client/client/client_impl.h"
#include "fuse-client/client/wire.h"

namespace cairn {
namespace {

using OpDraft = MasterSession::OpDraft;
using QueryDraft = MasterSession::QueryDraft;

kj::Own<OpDraft> newOp(const Caller& caller) {
  auto op = kj::heap<OpDraft>();
  op->request = caller.request;
  writeCaller(caller, (*op)->initCaller());
  return op;
}

kj::Own<QueryDraft> newQuery(const Caller& caller) {
  auto query = kj::heap<QueryDraft>();
  writeCaller(caller, (*query)->initCaller());
  return query;
}

template <typename T>
Status statusOf(const Result<T>& reply) {
  return reply.ok() ? Status() : Status(reply.error());
}

// A name of this inode is gone; with the last one, and nobody having it open, its buffered bytes are pointless.
void noteUnlinked(InodeTable& inodes, WriteBuffer& buffer, wire::Reply::Reader reply) {
  KJ_IF_MAYBE(inode, inodes.find(InodeId{reply.getAttributes().getInode()})) {
    if (reply.getAttributes().getLinks() == 0 && inode->handles == 0) {
      buffer.forget(*inode);
    }
  }
}

}  // namespace

Task<Result<Attributes>> Client::Impl::execute(kj::Own<OpDraft> op) {
  auto reply = co_await session.execute(kj::mv(op));
  if (!reply.ok()) {
    co_return reply.error();
  }
  co_return shown(reply.value().getReply());
}

// What the mount shows of the inode that a change was about.
Attributes Client::Impl::shown(wire::Reply::Reader reply, const std::string& name) {
  auto inode = inodes.get(InodeId{reply.getAttributes().getInode()});
  if (!name.empty()) {
    inode->name = name;
  }
  return inode->isKnown() ? inode->effective() : readAttributes(reply.getAttributes());
}

// ---- names --------------------------------------------------------------------------------------

Task<Result<Attributes>> Client::lookup(InodeId parent, std::string name, Caller caller) {
  auto leased = impl_->leasedLookup(parent, name);
  if (leased) {
    co_return kj::mv(*leased);
  }
  auto query = newQuery(caller);
  auto lookup = (*query)->initLookup();
  lookup.setParent(raw(parent));
  lookup.setName(wireBytes(name));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  auto attributes = answer.value().getAnswer().getAttributes();
  const Grant& grant = answer.value().grant;
  impl_->noteFound(parent, name, InodeId{attributes.getInode()}, grant);
  co_return impl_->inodes.learn(attributes, grant, wire::LEASED_ATTRIBUTES, name);
}

Task<Result<Attributes>> Client::Impl::make(InodeId parent, std::string name, uint32_t mode, uint32_t device,
                                            std::string target, bool hold, Caller caller) {
  auto op = newOp(caller);
  auto make = (*op)->initMake();
  make.setParent(raw(parent));
  make.setName(wireBytes(name));
  make.setMode(mode);
  make.setUmask(caller.umask);
  make.setDevice(device);
  if (!target.empty()) {
    make.setTarget(wireBytes(target));
  }
  make.setHold(hold);
  make.setUnnamed(name.empty());
  auto reply = co_await session.execute(kj::mv(op), hold);
  if (!reply.ok()) {
    co_return reply.error();
  }
  co_return shown(reply.value().getReply(), name);
}

Task<Result<Attributes>> Client::makeNode(InodeId parent, std::string name, uint32_t mode, uint32_t device,
                                          Caller caller) {
  co_return co_await impl_->make(parent, kj::mv(name), mode, device, std::string(), false, caller);
}

Task<Result<Attributes>> Client::makeDirectory(InodeId parent, std::string name, uint32_t mode, Caller caller) {
  uint32_t typed = S_IFDIR | (mode & ~uint32_t{S_IFMT});
  co_return co_await impl_->make(parent, kj::mv(name), typed, 0, std::string(), false, caller);
}

Task<Result<Attributes>> Client::symlink(InodeId parent, std::string name, std::string target, Caller caller) {
  uint32_t typed = S_IFLNK | 0777;
  co_return co_await impl_->make(parent, kj::mv(name), typed, 0, kj::mv(target), false, caller);
}

Task<Result<Attributes>> Client::link(InodeId inode, InodeId parent, std::string name, Caller caller) {
  KJ_IF_MAYBE(known, impl_->inodes.find(inode)) {
    if (known->isKnown() && known->committed().links == 0 && known->hasLocalChanges()) {
      // With a name it counts for quotas: with all that has been written.
      co_await impl_->sync.sync(kj::addRef(*known), false);
    }
  }
  auto op = newOp(caller);
  auto link = (*op)->initLink();
  link.setInode(raw(inode));
  link.setParent(raw(parent));
  link.setName(wireBytes(name));
  co_return co_await impl_->execute(kj::mv(op));
}

Task<Status> Client::unlink(InodeId parent, std::string name, Caller caller) {
  auto op = newOp(caller);
  auto unlink = (*op)->initUnlink();
  unlink.setParent(raw(parent));
  unlink.setName(wireBytes(name));
  auto reply = co_await impl_->session.execute(kj::mv(op));
  if (reply.ok()) {
    noteUnlinked(impl_->inodes, impl_->buffer, reply.value().getReply());
  }
  co_return statusOf(reply);
}

Task<Status> Client::removeDirectory(InodeId parent, std::string name, Caller caller) {
  auto op = newOp(caller);
  auto unlink = (*op)->initUnlink();
  unlink.setParent(raw(parent));
  unlink.setName(wireBytes(name));
  unlink.setDirectory(true);
  auto learned = co_await impl_->execute(kj::mv(op));
  co_return statusOf(learned);
}

Task<Status> Client::rename(InodeId parent, std::string name, InodeId newParent, std::string newName, uint32_t flags,
                            Caller caller) {
  auto op = newOp(caller);
  auto rename = (*op)->initRename();
  rename.setParent(raw(parent));
  rename.setName(wireBytes(name));
  rename.setNewParent(raw(newParent));
  rename.setNewName(wireBytes(newName));
  rename.setFlags(flags);
  auto reply = co_await impl_->session.execute(kj::mv(op));
  if (reply.ok()) {
    impl_->shown(reply.value().getReply(), newName);
  }
  co_return statusOf(reply);
}

Task<Result<std::string>> Client::readLink(InodeId inode, Caller caller) {
  auto query = newQuery(caller);
  (*query)->setReadLink(raw(inode));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  impl_->noteRead(inode);
  co_return textOf(answer.value().getAnswer().getBytes());
}

void Client::Impl::noteRead(InodeId id) {
  KJ_IF_MAYBE(inode, inodes.find(id)) {
    readTimes.read(*inode);
  }
}

bool Client::movesAccessTime(InodeId id) {
  auto inode = impl_->inodes.find(id);
  return inode != nullptr && impl_->readTimes.isNews(KJ_ASSERT_NONNULL(inode));
}

Task<Result<DirectoryPage>> Client::readDirectory(InodeId inode, uint64_t cookie, uint32_t entriesMax,
                                                  bool withAttributes, Caller caller) {
  auto query = newQuery(caller);
  auto read = (*query)->initReadDirectory();
  read.setInode(raw(inode));
  read.setCookie(cookie);
  read.setEntriesMax(entriesMax);
  read.setWithAttributes(withAttributes);
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  impl_->noteRead(inode);
  const Grant& grant = answer.value().grant;
  auto entries = answer.value().getAnswer().getEntries();
  DirectoryPage page;
  page.end = entries.getEnd();
  for (auto entry : entries.getList()) {
    DirectoryEntry out;
    out.name = textOf(entry.getName());
    out.inode = InodeId{entry.getInode()};
    out.mode = entry.getMode();
    out.next = entry.getNext();
    out.hasAttributes = withAttributes && entry.hasAttributes();
    if (out.hasAttributes) {
      out.attributes = impl_->inodes.learn(entry.getAttributes(), grant, wire::LEASED_ATTRIBUTES, out.name);
      impl_->noteFound(inode, out.name, out.inode, grant);
    }
    page.entries.push_back(kj::mv(out));
  }
  co_return kj::mv(page);
}

// ---- attributes ---------------------------------------------------------------------------------

Task<Result<Attributes>> Client::attributes(InodeId inode, bool evenGone) {
  KJ_IF_MAYBE(known, impl_->inodes.find(inode)) {
    if (known->isLeased()) {
      ++impl_->context.stats.leasedAttributes;
      co_return known->effective();
    }
  }
  Caller nobody;
  auto query = newQuery(nobody);
  (*query)->setAttributes(raw(inode));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    auto gone = impl_->inodes.find(inode);
    bool remembered = evenGone && answer.error().code == ESTALE && gone != nullptr &&
                      KJ_ASSERT_NONNULL(gone).isKnown() && KJ_ASSERT_NONNULL(gone).committed().links == 0;
    co_return remembered ? Result<Attributes>(KJ_ASSERT_NONNULL(gone).effective()) : answer.error();
  }
  auto attributes = answer.value().getAnswer().getAttributes();
  co_return impl_->inodes.learn(attributes, answer.value().grant, wire::LEASED_ATTRIBUTES);
}

Nanos Client::believed(InodeId id) {
  KJ_IF_MAYBE(inode, impl_->inodes.find(id)) {
    Nanos left = inode->isLeased() ? impl_->leases.left() : 0;
    inode->promise(impl_->context.clock.monotonic() + left);
    return left;
  }
  return 0;
}

Nanos Client::believed(InodeId directory, const std::string& name) {
  bool known = impl_->names.find(directory, name).has_value();
  return known && !impl_->leases.isInDoubt(LeaseBook::keyOf(directory, name)) ? impl_->leases.left() : 0;
}

void Client::setListener(CacheListener* listener) {
  impl_->cache = listener == nullptr ? &impl_->noCache : listener;
}

Task<Result<Attributes>> Client::Impl::sendAttributes(InodeId inode, const AttributeChange& change,
                                                      const Caller& caller) {
  auto op = newOp(caller);
  auto set = (*op)->initSetAttributes();
  set.setInode(raw(inode));
  set.setWhich(change.which);
  set.setMode(change.mode);
  set.setUid(change.uid);
  set.setGid(change.gid);
  set.setSize(change.sizeBytes);
  writeTime(change.accessed, set.initAccessed());
  writeTime(change.modified, set.initModified());
  set.setHeld(change.held);
  bool setsAccessed = (change.which & (SET_ACCESSED | SET_ACCESSED_NOW)) != 0;
  KJ_IF_MAYBE(known, inodes.find(inode)) {
    if (setsAccessed) {  // even to the time that the master knows
      known->forgetRead();
    }
    if ((change.which & SET_SIZE) != 0) {
      set.setGranted(quotas.claimOf(*known));
    }
  }
  co_return co_await execute(kj::mv(op));
}

Task<Result<Attributes>> Client::setAttributes(InodeId inode, AttributeChange change, Caller caller) {
  uint32_t touchy = SET_SIZE | SET_MODIFIED | SET_MODIFIED_NOW;
  auto known = impl_->inodes.find(inode);
  bool buffered = known != nullptr && S_ISREG(KJ_ASSERT_NONNULL(known).committed().mode);
  if ((change.which & SET_SIZE) != 0 || ((change.which & touchy) != 0 && buffered)) {
    auto work = impl_->setAttributes(impl_->inodes.get(inode), kj::mv(change), kj::mv(caller)).promise();
    co_return co_await impl_->toTheEnd(kj::mv(work));
  }
  co_return co_await impl_->sendAttributes(inode, change, caller);
}

Task<Result<std::string>> Client::getXattr(InodeId inode, std::string name, Caller caller) {
  if (impl_->hasNoXattr(inode, name)) {
    co_return Error{ENODATA, {}};
  }
  auto query = newQuery(caller);
  auto get = (*query)->initGetXattr();
  get.setInode(raw(inode));
  get.setName(wireBytes(name));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  co_return textOf(answer.value().getAnswer().getBytes());
}

// Setting this one on a directory detaches what it has under that name: an attribute, for there is no system call.
constexpr const char* DETACH_XATTR = "user.dfs.detach";

Task<Status> Client::setXattr(InodeId inode, std::string name, std::string value, uint32_t flags, Caller caller) {
  auto op = newOp(caller);
  if (name == DETACH_XATTR) {
    auto detach = (*op)->initDetach();
    detach.setParent(raw(inode));
    detach.setName(wireBytes(value));
    auto detached = co_await impl_->execute(kj::mv(op));
    co_return statusOf(detached);
  }
  auto set = (*op)->initSetXattr();
  set.setInode(raw(inode));
  set.setName(wireBytes(name));
  set.setValue(wireBytes(value));
  set.setFlags(flags);
  auto learned = co_await impl_->execute(kj::mv(op));
  co_return statusOf(learned);
}

Task<Status> Client::removeXattr(InodeId inode, std::string name, Caller caller) {
  auto op = newOp(caller);
  auto remove = (*op)->initRemoveXattr();
  remove.setInode(raw(inode));
  remove.setName(wireBytes(name));
  auto learned = co_await impl_->execute(kj::mv(op));
  co_return statusOf(learned);
}

Task<Result<std::string>> Client::listXattr(InodeId inode, Caller caller) {
  if (impl_->hasNoXattrs(inode)) {
    co_return std::string();
  }
  auto query = newQuery(caller);
  (*query)->setListXattr(raw(inode));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  co_return textOf(answer.value().getAnswer().getBytes());
}

Task<Result<SpaceInfo>> Client::space(InodeId inode) {
  Caller nobody;
  auto query = newQuery(nobody);
  (*query)->setSpace(raw(inode));
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  auto reader = answer.value().getAnswer().getSpace();
  SpaceInfo out;
  out.totalBytes = reader.getTotalBytes();
  out.availableBytes = reader.getAvailableBytes();
  out.files = reader.getFiles();
  out.filesMax = reader.getFilesMax();
  co_return out;
}

}  // namespace cairn
