// The questions that a client may ask, with its permissions checked.
#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "master/namespace/acl.h"
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"
#include "master/namespace/reader.h"

namespace cairn {

namespace {

constexpr size_t ENTRY_BYTES = 64;              // of one entry in an answer, beside its name
constexpr size_t ENTRY_ATTRIBUTES_BYTES = 256;  // and its attributes

kj::ArrayPtr<const kj::byte> bytesOf(std::string_view text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

class Answerer {
 public:
  Answerer(const NamespaceReader& reader, const Store& store, wire::Query::Reader query, wire::Answer::Builder answer)
      : reader_(reader), store_(store), query_(query), caller_(query.getCaller()), answer_(answer) {}

  Status run() {
    switch (query_.which()) {
      case wire::Query::LOOKUP:
        return lookup(InodeId{query_.getLookup().getParent()}, viewOf(query_.getLookup().getName()));
      case wire::Query::ATTRIBUTES:
        return attributes(InodeId{query_.getAttributes()});
      case wire::Query::READ_DIRECTORY:
        return readDirectory(query_.getReadDirectory());
      case wire::Query::READ_LINK:
        return readLink(InodeId{query_.getReadLink()});
      case wire::Query::GET_XATTR:
        return getXattr(InodeId{query_.getGetXattr().getInode()}, viewOf(query_.getGetXattr().getName()));
      case wire::Query::LIST_XATTR:
        return listXattr(InodeId{query_.getListXattr()});
      case wire::Query::SPACE:
        return reachOnly(InodeId{query_.getSpace()});
      case wire::Query::TEST_LOCK:
        return reachOnly(InodeId{query_.getTestLock().getInode()});
    }
    return Error{ENOSYS, "a question that this master doesn't know"};
  }

 private:
  Status attributes(InodeId id) {
    InodeRecord inode;
    auto reached = reach(store_, id, inode);
    if (reached.ok()) {
      reader_.writeAttributes(inode, answer_.initAttributes());
    }
    return reached;
  }

  Status lookup(InodeId id, std::string_view name) {
    InodeRecord parent;
    auto entered = enter(store_, caller_, id, parent);
    if (!entered.ok()) {
      return entered;
    }
    if (isDots(name)) {
      return attributes(name == "." ? parent.id : parent.parent);
    }
    auto named = checkName(name);
    if (!named.ok()) {
      return named;
    }
    Entry entry;
    return find(store_, id, name, entry) ? attributes(entry.inode) : Status(Error{ENOENT, {}});
  }

  Status readDirectory(wire::Query::ReadDirectory::Reader query) {
    InodeRecord directory;
    auto reached = reach(store_, InodeId{query.getInode()}, directory);
    if (!reached.ok()) {
      return reached;
    }
    if (!S_ISDIR(directory.mode)) {
      return Error{ENOTDIR, {}};
    }
    if (!may(caller_, directory, MAY_READ)) {
      return Error{EACCES, {}};
    }
    bool full = query.getWithAttributes() && may(caller_, directory, MAY_SEARCH);
    std::vector<std::pair<uint64_t, Position>> found;
    bool end = gather(directory.id, query, full, found);
    auto entries = answer_.initEntries();
    entries.setEnd(end);
    auto list = entries.initList(static_cast<unsigned>(found.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      writeEntry(found[i].first, found[i].second, full, list[i]);
    }
    return {};
  }

  // True when the directory ends there.
  bool gather(InodeId directory, wire::Query::ReadDirectory::Reader query, bool full,
              std::vector<std::pair<uint64_t, Position>>& found) {
    size_t entriesMax = std::min(query.getEntriesMax(), NamespaceReader::DIRECTORY_ENTRIES_MAX);
    uint64_t start = std::max(query.getCookie() + 1, NamespaceReader::FIRST_COOKIE);
    size_t bytes = 0;
    auto at = store_.scan(keys::cookies(directory));
    if (query.getCookie() == UINT64_MAX) {
      return true;
    }
    for (at.seek(keys::cookie(directory, start)); at.valid(); at.next()) {
      if (found.size() >= entriesMax || bytes >= NamespaceReader::DIRECTORY_BYTES_MAX) {
        return false;
      }
      auto& [cookie, position] = found.emplace_back();
      cookie = keys::numberAt(at.key(), keys::IN_DIRECTORY);
      decode(at.value(), position);
      bytes += ENTRY_BYTES + position.name.size() + (full ? ENTRY_ATTRIBUTES_BYTES : 0);
    }
    return true;
  }

  void writeEntry(uint64_t cookie, const Position& position, bool full, wire::Entry::Builder out) {
    out.setName(bytesOf(position.name));
    out.setInode(raw(position.inode));
    out.setMode(position.mode);
    out.setNext(cookie);
    InodeRecord inode;
    if (full && find(store_, position.inode, inode)) {
      reader_.writeAttributes(inode, out.initAttributes());
    }
  }

  Status readLink(InodeId id) {
    InodeRecord inode;
    auto reached = reach(store_, id, inode);
    if (!reached.ok()) {
      return reached;
    }
    if (!S_ISLNK(inode.mode)) {
      return Error{EINVAL, "not a symlink"};
    }
    answer_.setBytes(bytesOf(inode.target));
    return {};
  }

  Status getXattr(InodeId id, std::string_view name) {
    InodeRecord inode;
    auto reached = reach(store_, id, inode);
    if (!reached.ok()) {
      return reached;
    }
    auto named = checkXattrName(name);
    if (!named.ok()) {
      return named;
    }
    auto allowed = mayReadXattr(caller_, inode, name);
    if (!allowed.ok()) {
      return allowed;
    }
    if (isAclXattr(name)) {
      const std::string& acl = name == ACCESS_ACL_XATTR ? inode.accessAcl : inode.defaultAcl;
      answer_.setBytes(bytesOf(acl));
      return acl.empty() ? Status(Error{ENODATA, {}}) : Status();
    }
    std::string value;
    if (name.starts_with(OWN_XATTRS)) {
      auto own = ownXattr(inode, name.substr(OWN_XATTRS.size()));
      answer_.setBytes(bytesOf(own));
      return own.empty() ? Status(Error{ENODATA, {}}) : Status();
    }
    if (inode.xattrs == 0 || !store_.get(keys::xattr(id, name), value)) {
      return Error{ENODATA, {}};
    }
    answer_.setBytes(bytesOf(value));
    return {};
  }

  // What the accounts say of a directory; empty: no such attribute.
  std::string ownXattr(const InodeRecord& inode, std::string_view name) {
    std::string value;
    Account account;
    if (!S_ISDIR(inode.mode) || !store_.get(keys::account(inode.id), value)) {
      return {};
    }
    decode(value, account);
    if (name == "rbytes") {
      return std::to_string(account.bytes);
    }
    if (name == "rallocated") {
      return std::to_string(account.allocated);
    }
    if (name == "rfiles") {
      return std::to_string(account.files);
    }
    return name == "rsubdirs" ? std::to_string(account.directories) : std::string();
  }

  Status listXattr(InodeId id) {
    InodeRecord inode;
    auto reached = reach(store_, id, inode);
    if (!reached.ok()) {
      return reached;
    }
    std::string names;
    auto add = [&names](std::string_view name) {
      names.append(name);
      names.push_back('\0');
    };
    if (!inode.accessAcl.empty()) {
      add(ACCESS_ACL_XATTR);
    }
    if (!inode.defaultAcl.empty()) {
      add(DEFAULT_ACL_XATTR);
    }
    if (inode.xattrs > 0) {
      for (auto at = store_.scan(keys::xattrs(id)); at.valid(); at.next()) {
        auto name = at.key().substr(keys::SECOND_ID);
        if (caller_.isRoot() || !name.starts_with("trusted.")) {
          add(name);
        }
      }
    }
    answer_.setBytes(bytesOf(names));
    return {};
  }

  Status reachOnly(InodeId id) {
    InodeRecord inode;
    return reach(store_, id, inode);
  }

  const NamespaceReader& reader_;
  const Store& store_;
  wire::Query::Reader query_;
  Credentials caller_;
  wire::Answer::Builder answer_;
};

}  // namespace

void NamespaceReader::answer(wire::Query::Reader query, wire::Answer::Builder answer) const {
  answer.setTerm(raw(head_.term));
  answer.setIndex(raw(head_.index));
  writeOutcome(Answerer(*this, store_, query, answer).run(), answer.initOutcome());
}

}  // namespace cairn
