#include "master/namespace/reader.h"

#include <sys/stat.h>

#include <cerrno>

#include "master/namespace/audit.h"
#include "master/namespace/keys.h"
#include "master/namespace/quota.h"
#include "master/namespace/tables.h"

namespace cairn {

ClusterId NamespaceReader::cluster() const {
  return head_.cluster;
}
LogIndex NamespaceReader::appliedIndex() const {
  return head_.index;
}
Term NamespaceReader::appliedTerm() const {
  return head_.term;
}
uint64_t NamespaceReader::digest() const {
  return head_.digest;
}
Counters NamespaceReader::counters() const {
  return {head_.inodes, head_.allocated, head_.trashAllocated};
}

Status NamespaceReader::attributes(InodeId id, wire::Attributes::Builder out) const {
  InodeRecord inode;
  auto reached = reach(store_, id, inode);
  if (reached.ok()) {
    writeAttributes(inode, out);
  }
  return reached;
}

Status NamespaceReader::resolve(std::string_view path, wire::Attributes::Builder out) const {
  InodeId at = ROOT_INODE;
  while (!path.empty()) {
    size_t slash = std::min(path.find('/'), path.size());
    auto name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty() || name == ".") {
      continue;
    }
    InodeRecord directory;
    auto reached = reach(store_, at, directory);
    if (!reached.ok()) {
      return reached;
    }
    if (!S_ISDIR(directory.mode)) {
      return Error{ENOTDIR, std::string(name) + ": what stands before it is not a directory"};
    }
    auto found = name == ".." ? Result<InodeId>(directory.parent) : lookup(at, name);
    if (!found.ok()) {
      return found.error();
    }
    at = found.value();
  }
  return attributes(at, out);
}

bool NamespaceReader::exists(InodeId inode) const {
  return store_.has(keys::inode(inode));
}

Result<ClassId> NamespaceReader::classOf(InodeId id) const {
  InodeRecord inode;
  auto reached = reach(store_, id, inode);
  if (!reached.ok()) {
    return reached.error();
  }
  return inode.cls;
}

Result<InodeId> NamespaceReader::lookup(InodeId parent, std::string_view name) const {
  Entry entry;
  if (!find(store_, parent, name, entry)) {
    return Error{ENOENT, std::string(name) + ": no such name"};
  }
  return entry.inode;
}

std::vector<ReclaimItem> NamespaceReader::reclaims(uint64_t after, size_t max) const {
  std::vector<ReclaimItem> items;
  auto at = store_.scan(keys::RECLAIMS);
  for (at.seek(keys::reclaim(after + 1)); at.valid() && items.size() < max; at.next()) {
    auto& item = items.emplace_back();
    decode(at.value(), item);
    item.id = keys::numberAt(at.key(), keys::FIRST_ID);
  }
  return items;
}

std::vector<CutItem> NamespaceReader::cuts(uint64_t after, size_t max) const {
  std::vector<CutItem> items;
  auto at = store_.scan(keys::CUTS);
  for (at.seek(keys::cut(after + 1)); at.valid() && items.size() < max; at.next()) {
    auto& item = items.emplace_back();
    decode(at.value(), item);
    item.id = keys::numberAt(at.key(), keys::FIRST_ID);
  }
  return items;
}

InodeId NamespaceReader::objects(InodeId after, size_t max, kj::FunctionParam<void(ObjectId)> each) const {
  InodeId last{};
  size_t looked = 0;
  auto at = store_.scan(keys::INODES);
  for (at.seek(keys::inode(next(after))); at.valid() && looked < max; at.next()) {
    InodeRecord inode;
    decode(at.value(), inode);
    last = InodeId{keys::numberAt(at.key(), keys::FIRST_ID)};
    ++looked;
    if (S_ISREG(inode.mode)) {
      each(inode.object);
    }
  }
  return last;
}

ObjectId NamespaceReader::nextObject() const {
  return ObjectId{head_.nextObject};
}

std::vector<MoveItem> NamespaceReader::moves() const {
  std::vector<MoveItem> found;
  for (auto at = store_.scan(keys::MOVES); at.valid(); at.next()) {
    auto& item = found.emplace_back();
    decode(at.value(), item);
    item.inode = InodeId{keys::numberAt(at.key(), keys::FIRST_ID)};
  }
  return found;
}

std::optional<MoveItem> NamespaceReader::move(InodeId inode) const {
  std::string value;
  if (!store_.get(keys::move(inode), value)) {
    return std::nullopt;
  }
  MoveItem item;
  decode(value, item);
  item.inode = inode;
  return item;
}

std::vector<MoveTask> NamespaceReader::moveTasks() const {
  std::vector<MoveTask> found;
  for (auto at = store_.scan(keys::MOVE_TASKS); at.valid(); at.next()) {
    auto& task = found.emplace_back();
    decode(at.value(), task);
    task.id = keys::numberAt(at.key(), keys::FIRST_ID);
  }
  return found;
}

std::optional<InodeRecord> NamespaceReader::record(InodeId id) const {
  InodeRecord inode;
  if (!find(store_, id, inode)) {
    return std::nullopt;
  }
  return inode;
}

std::vector<NamespaceReader::Child> NamespaceReader::children(InodeId directory, uint64_t after, size_t max) const {
  std::vector<Child> found;
  auto at = store_.scan(keys::cookies(directory));
  for (at.seek(keys::cookie(directory, after + 1)); at.valid() && found.size() < max; at.next()) {
    Position position;
    decode(at.value(), position);
    found.push_back({position.inode, keys::numberAt(at.key(), keys::IN_DIRECTORY), std::move(position.name)});
  }
  return found;
}

std::vector<InodeId> NamespaceReader::directoriesOf(InodeId inode) const {
  std::vector<InodeId> found;
  for (auto at = store_.scan(keys::names(inode)); at.valid(); at.next()) {
    found.push_back(InodeId{keys::numberAt(at.key(), keys::SECOND_ID)});
  }
  auto one = record(inode);
  if (found.empty() && one && raw(one->parent) != 0) {
    found.push_back(one->parent);
  }
  return found;
}

std::vector<std::pair<LogIndex, std::string>> NamespaceReader::memberships() const {
  std::vector<std::pair<LogIndex, std::string>> found;
  for (auto at = store_.scan(keys::MEMBERSHIPS); at.valid(); at.next()) {
    found.emplace_back(LogIndex{keys::numberAt(at.key(), keys::FIRST_ID)}, std::string(at.value()));
  }
  return found;
}

std::vector<TermBegin> NamespaceReader::terms() const {
  std::vector<TermBegin> found;
  for (auto at = store_.scan(keys::TERMS); at.valid(); at.next()) {
    auto& start = found.emplace_back();
    decode(at.value(), start);
    start.term = Term{keys::numberAt(at.key(), keys::FIRST_ID)};
  }
  return found;
}

std::optional<Account> NamespaceReader::account(InodeId directory) const {
  std::string value;
  if (!store_.get(keys::account(directory), value)) {
    return std::nullopt;
  }
  Account account;
  decode(value, account);
  return account;
}

// By the inodes, whose `parent` stays what it was when the last name goes.
Result<std::string> NamespaceReader::pathOf(InodeId directory) const {
  std::string path;
  InodeRecord inode;
  for (InodeId at = directory; at != ROOT_INODE; at = inode.parent) {
    auto found = account(at);
    if (!found || !find(store_, at, inode)) {
      return Error{ENOENT, "what it was in is gone"};
    }
    path = "/" + found->name + path;
  }
  return path.empty() ? "/" : path;
}

std::vector<NamespaceReader::Quota> NamespaceReader::quotas() const {
  std::vector<Quota> found;
  for (auto at = store_.scan(keys::QUOTAS); at.valid(); at.next()) {
    InodeId root{keys::numberAt(at.key(), keys::FIRST_ID)};
    found.push_back({root, account(root).value_or(Account())});
  }
  return found;
}

std::vector<NamespaceReader::Quota> NamespaceReader::quotasAbove(InodeId directory) const {
  std::vector<Quota> found;
  if (head_.quotas == 0) {
    return found;
  }
  InodeId at = directory;
  for (auto one = account(at); one; one = account(at)) {
    InodeId parent = one->parent;
    if (one->hasQuota()) {
      found.push_back({at, kj::mv(*one)});
    }
    at = parent;
  }
  return found;
}

uint64_t NamespaceReader::bytesLeft(InodeId directory) const {
  uint64_t left = UINT64_MAX;
  for (auto& quota : quotasAbove(directory)) {
    if (quota.account.bytesMax > 0) {
      left = std::min(left, cairn::bytesLeft(quota.account));
    }
  }
  return left;
}

std::vector<NamespaceReader::Grant> NamespaceReader::grants() const {
  std::vector<Grant> found;
  for (auto at = store_.scan(keys::GRANTS); at.valid(); at.next()) {
    found.push_back({SessionId{keys::numberAt(at.key(), keys::FIRST_ID)},
                     InodeId{keys::numberAt(at.key(), keys::SECOND_ID)}, decodeNumber(at.value())});
  }
  return found;
}

void NamespaceReader::writeAttributes(const InodeRecord& inode, wire::Attributes::Builder out) const {
  cairn::writeAttributes(inode, out);
  for (auto& quota : quotasAbove(S_ISDIR(inode.mode) ? inode.id : inode.parent)) {
    if (quota.account.bytesMax > 0) {
      out.setQuotaRoot(raw(quota.root));
      return;
    }
  }
}

std::vector<TrashItem> NamespaceReader::trash(uint64_t after, size_t max) const {
  std::vector<TrashItem> items;
  auto at = store_.scan(keys::TRASH);
  for (at.seek(keys::trash(after + 1)); at.valid() && items.size() < max; at.next()) {
    auto& item = items.emplace_back();
    decode(at.value(), item);
    item.id = keys::numberAt(at.key(), keys::FIRST_ID);
  }
  return items;
}

std::vector<TrashItem> NamespaceReader::trashOf(InodeId directory, uint64_t after, size_t max) const {
  std::vector<TrashItem> items;
  auto at = store_.scan(keys::trashOf(directory));
  for (at.seek(keys::trashOf(directory, after + 1)); at.valid() && items.size() < max; at.next()) {
    auto item = trashItem(keys::numberAt(at.key(), keys::SECOND_ID));
    KJ_ASSERT(item.has_value(), "the trash of a directory names what isn't there", raw(directory));
    items.push_back(kj::mv(*item));
  }
  return items;
}

std::optional<TrashItem> NamespaceReader::trashItem(uint64_t id) const {
  std::string value;
  if (!store_.get(keys::trash(id), value)) {
    return std::nullopt;
  }
  TrashItem item;
  decode(value, item);
  item.id = id;
  return item;
}

uint64_t NamespaceReader::trashSeconds(InodeId directory) const {
  for (auto found = account(directory); found; found = account(found->parent)) {
    if (found->trashSeconds != Account::AS_ABOVE) {
      return found->trashSeconds;
    }
  }
  return 0;
}

std::vector<LooseTree> NamespaceReader::looseTrees(InodeId after, size_t max) const {
  std::vector<LooseTree> found;
  auto at = store_.scan(keys::LOOSE_TREES);
  for (at.seek(keys::looseTree(next(after))); at.valid() && found.size() < max; at.next()) {
    found.push_back({InodeId{keys::numberAt(at.key(), keys::FIRST_ID)}, decodeNumber(at.value())});
  }
  return found;
}

GroupEpoch NamespaceReader::groupEpoch() const {
  std::string value;
  return store_.get(keys::GROUP_EPOCH, value) ? GroupEpoch{decodeNumber(value)} : GroupEpoch{};
}

uint64_t NamespaceReader::lastSequence(SessionId session, uint8_t slot) const {
  std::string value;
  if (!store_.get(keys::slot(session, slot), value)) {
    return 0;
  }
  ReplySlot last;
  decode(value, last);
  return last.sequence;
}

uint32_t NamespaceReader::featureLevel() const {
  std::string value;
  return store_.get(keys::FEATURE_LEVEL, value) ? static_cast<uint32_t>(decodeNumber(value)) : FIRST_FEATURE_LEVEL;
}

std::vector<SessionRecord> NamespaceReader::sessions() const {
  std::vector<SessionRecord> found;
  for (auto at = store_.scan(keys::SESSIONS); at.valid(); at.next()) {
    Session session;
    decode(at.value(), session);
    found.push_back({SessionId{keys::numberAt(at.key(), keys::FIRST_ID)}, session.name, session.opened.seconds,
                     session.leases});
  }
  return found;
}

std::vector<AuditItem> NamespaceReader::audit(size_t max) const {
  return auditItems(store_, max);
}
Settings NamespaceReader::settings() const {
  return readSettings(store_);
}

bool NamespaceReader::sessionExists(SessionId session) const {
  return cairn::sessionExists(store_, session);
}

std::vector<Orphan> NamespaceReader::orphans() const {
  std::vector<Orphan> found;
  for (auto at = store_.scan(keys::ORPHANS); at.valid(); at.next()) {
    InodeId inode{keys::numberAt(at.key(), keys::FIRST_ID)};
    if (found.empty() || found.back().inode != inode) {
      found.push_back({inode, {}});
    }
    found.back().holders.push_back(SessionId{keys::numberAt(at.key(), keys::SECOND_ID)});
  }
  return found;
}

bool NamespaceReader::isOrphan(InodeId inode) const {
  return cairn::isOrphan(store_, inode);
}

}  // namespace cairn
