#include "master/namespace/tables.h"

#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/keys.h"
#include "master/namespace/quota.h"
#include "master/namespace/reader.h"

namespace cairn {

namespace {

void touch(Execution& execution, InodeRecord& directory) {
  directory.modified = execution.now();
  directory.changed = execution.now();
}

void putEntry(Execution& execution, InodeId directory, std::string_view name, uint64_t cookie,
              const InodeRecord& child) {
  uint32_t type = child.mode & S_IFMT;
  execution.store.put(keys::entry(directory, name), encode(Entry{child.id, type, cookie}));
  execution.store.put(keys::cookie(directory, cookie), encode(Position{child.id, type, std::string(name)}));
}

void writeLayout(const InodeRecord& inode, wire::Layout::Builder out) {
  out.setObject(raw(inode.object));
  out.setClass(raw(inode.cls));
  out.setChunkBits(inode.chunkBits);
  out.setGeneration(inode.generation);
  out.setMovedFrom(raw(inode.movedFrom));
  auto cuts = out.initCuts(static_cast<unsigned>(inode.cuts.size()));
  for (unsigned i = 0; i < cuts.size(); ++i) {
    cuts[i].setGeneration(inode.cuts[i].generation);
    cuts[i].setFirstDead(inode.cuts[i].firstDead);
  }
}

}  // namespace

bool find(const Store& store, InodeId id, InodeRecord& out) {
  std::string value;
  if (!store.get(keys::inode(id), value)) {
    return false;
  }
  out = InodeRecord();  // what its kind and number of links leave out mustn't stay from another
  decode(value, out);
  out.id = id;
  out.generation = std::max(out.generation, store.generationBase());
  return true;
}

bool find(const Store& store, InodeId directory, std::string_view name, Entry& out) {
  std::string value;
  if (!store.get(keys::entry(directory, name), value)) {
    return false;
  }
  decode(value, out);
  return true;
}

bool isOrphan(const Store& store, InodeId id) {
  // Not a scan for holders: it would wade through all that were dropped before.
  InodeRecord inode;
  return find(store, id, inode) && inode.links == 0 && inode.trashItem == 0;
}
bool hasHolder(const Store& store, InodeId id) {
  return store.scan(keys::orphan(id)).valid();
}
bool sessionExists(const Store& store, SessionId session) {
  return store.has(keys::session(session));
}

Status enter(const Store& store, const Credentials& caller, InodeId id, InodeRecord& out) {
  auto reached = reach(store, id, out);
  if (!reached.ok()) {
    return reached;
  }
  if (!S_ISDIR(out.mode)) {
    return Error{ENOTDIR, {}};
  }
  return may(caller, out, MAY_SEARCH) ? Status() : Status(Error{EACCES, {}});
}

Status reach(const Store& store, InodeId id, InodeRecord& out) {
  bool there = find(store, id, out) && out.trashItem == 0;
  return there ? Status() : Status(Error{ESTALE, "the inode is gone"});
}

std::string_view viewOf(capnp::Data::Reader data) {
  return {reinterpret_cast<const char*>(data.begin()), data.size()};
}

Timestamp readTime(wire::Time::Reader in) {
  return {in.getSeconds(), in.getNanos()};
}

void writeTime(Timestamp in, wire::Time::Builder out) {
  out.setSeconds(in.seconds);
  out.setNanos(in.nanos);
}

void writeAttributes(const InodeRecord& inode, wire::Attributes::Builder out) {
  out.setInode(raw(inode.id));
  out.setMode(inode.mode);
  out.setLacks((inode.accessAcl.empty() ? wire::LACKS_ACCESS_ACL : 0) |
               (inode.defaultAcl.empty() ? wire::LACKS_DEFAULT_ACL : 0) |
               (inode.xattrs == 0 ? wire::LACKS_OTHER_XATTRS : 0));
  out.setUid(inode.uid);
  out.setGid(inode.gid);
  out.setLinks(inode.links);
  out.setDevice(inode.device);
  out.setSize(S_ISDIR(inode.mode) ? DIRECTORY_SIZE_BYTES : inode.size);
  out.setAllocatedBytes(inode.allocated);
  writeTime(inode.accessed, out.initAccessed());
  writeTime(inode.modified, out.initModified());
  writeTime(inode.changed, out.initChanged());
  writeTime(inode.created, out.initCreated());
  if (S_ISREG(inode.mode)) {
    writeLayout(inode, out.initLayout());
  } else if (S_ISDIR(inode.mode)) {
    out.setParent(raw(inode.parent));
  }
}

void writeAttributes(const Execution& execution, const InodeRecord& inode, wire::Attributes::Builder out) {
  writeAttributes(inode, out);
  if (execution.head.quotas > 0) {
    out.setQuotaRoot(raw(byteQuotaAbove(execution, S_ISDIR(inode.mode) ? inode.id : inode.parent)));
  }
}

void writeOutcome(const Status& status, wire::Outcome::Builder out) {
  if (!status.ok()) {
    out.setErrno(status.error().code);
    if (!status.error().why.empty()) {
      out.setWhy(status.error().why);
    }
  }
}

void save(Execution& execution, const InodeRecord& inode) {
  execution.store.put(keys::inode(inode.id), encode(inode));
}

void addEntry(Execution& execution, InodeRecord& directory, std::string_view name, const InodeRecord& child) {
  putEntry(execution, directory.id, name, directory.nextCookie++, child);
  ++directory.entries;
  touch(execution, directory);
}

void replaceEntry(Execution& execution, InodeRecord& directory, std::string_view name, const Entry& old,
                  const InodeRecord& child) {
  putEntry(execution, directory.id, name, old.cookie, child);
  touch(execution, directory);
}

void removeEntry(Execution& execution, InodeRecord& directory, std::string_view name, const Entry& old) {
  execution.store.erase(keys::entry(directory.id, name));
  execution.store.erase(keys::cookie(directory.id, old.cookie));
  KJ_ASSERT(directory.entries > 0, "a directory's count of entries is wrong", raw(directory.id));
  --directory.entries;
  touch(execution, directory);
}

}  // namespace cairn
