// NamespaceReader: what can be asked of the replicated state. It answers from what has been applied, so for a strongly
// consistent answer wait for Replica::readBarrier() first. Never changes anything, never suspends.
//
// A damaged state store makes these throw kj::Exception and the replica fatal (Replica::onFatal).
#pragma once
#include <kj/function.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "master/namespace/locks.h"
#include "master/namespace/records.h"
#include "schema/master.capnp.h"

namespace cairn {

class Store;

constexpr uint32_t FIRST_FEATURE_LEVEL = 1;

struct Counters {
  uint64_t inodes = 0;               // existing, orphans included
  uint64_t allocatedBytes = 0;       // of all files, one copy
  uint64_t trashAllocatedBytes = 0;  // of those in the trash
};

// A nameless inode that sessions still hold.
struct Orphan {
  InodeId inode{};
  std::vector<SessionId> holders;
};

struct LooseTree {
  InodeId directory{};
  uint64_t cookie = 0;
};

struct SessionRecord {
  SessionId id{};
  std::string name;
  int64_t openedSeconds = 0;
  bool leases = false;  // it may believe something under a lease
};

class NamespaceReader {
 public:
  NamespaceReader(const Store& store, const Head& head, const ShardMap& map) : store_(store), head_(head), map_(map) {}

  // False until the first entry of a cluster (Format) has been applied.
  bool formatted() const { return !cluster().isNull(); }
  ClusterId cluster() const;
  LogIndex appliedIndex() const;
  Term appliedTerm() const;
  // Of the masters' group.
  GroupEpoch groupEpoch() const;
  // What may stand in the log and on disks; see rpc/program.h.
  uint32_t featureLevel() const;
  // Hash chained over every change so far: equal on two members with equal history.
  uint64_t digest() const;
  Counters counters() const;
  // As of the last applied entry: servers, volumes, classes, shards, fenced sessions.
  const ShardMap& map() const { return map_; }

  // Answers all of Query with the caller's permissions checked. Of `testLock` and `space` only the outcome is set (the
  // inode exists): the rest is the caller's, who knows the session and the disks. Sets term and index. Gone inodes give
  // ESTALE.
  // readDirectory leaves "." and ".." to the client: cookies below FIRST_COOKIE are free for them. It takes the
  // credentials of whoever opened the directory, and leaves attributes out when they don't allow to search it.
  void answer(wire::Query::Reader query, wire::Answer::Builder answer) const;
  // An entry's cookie is at least this.
  static constexpr uint64_t FIRST_COOKIE = 16;
  static constexpr uint32_t DIRECTORY_ENTRIES_MAX = 4096;   // in one answer
  static constexpr uint64_t DIRECTORY_BYTES_MAX = 1 << 20;  // in one answer, roughly

  // Without permission checks, for admins. resolve() takes a path from the root and follows no symlink.
  Status resolve(std::string_view path, wire::Attributes::Builder out) const;
  Status attributes(InodeId inode, wire::Attributes::Builder out) const;
  void writeAttributes(const InodeRecord& inode, wire::Attributes::Builder out) const;
  bool exists(InodeId inode) const;
  // Of a file's bytes; of a directory: of what is made in it. ESTALE.
  Result<ClassId> classOf(InodeId inode) const;
  // The inode a name stands for now; ENOENT. For gathering a command's holders before it is proposed.
  Result<InodeId> lookup(InodeId parent, std::string_view name) const;

  // At most `max` items with ids above `after`, in order.
  std::vector<ReclaimItem> reclaims(uint64_t after, size_t max) const;
  std::vector<CutItem> cuts(uint64_t after, size_t max) const;
  // Calls `each` for the objects of at most `max` inodes above `after`; the last inode looked at, 0 when there is none.
  InodeId objects(InodeId after, size_t max, kj::FunctionParam<void(ObjectId)> each) const;
  // No object of this number or above was given out yet.
  ObjectId nextObject() const;
  // Files being copied into another class, in order; of one, if it is.
  std::vector<MoveItem> moves() const;
  std::optional<MoveItem> move(InodeId inode) const;
  std::vector<MoveTask> moveTasks() const;
  // The record of an inode, and names of a directory with cookies above `after`, in order, at most `max`.
  std::optional<InodeRecord> record(InodeId inode) const;
  struct Child {
    InodeId inode{};
    uint64_t cookie = 0;
    std::string name;
  };
  std::vector<Child> children(InodeId directory, uint64_t after, size_t max) const;
  // Directories that have a name of an inode which is no directory itself.
  std::vector<InodeId> directoriesOf(InodeId inode) const;
  // Memberships of the masters, encoded, each with the entry that brought it, in order.
  std::vector<std::pair<LogIndex, std::string>> memberships() const;
  // The newest terms there were, in order.
  std::vector<TermBegin> terms() const;
  // In the order of their first bytes.
  std::vector<FileLock> locks(InodeId inode, wire::LockKind kind) const;
  std::vector<FileLock> allLocks(size_t max) const;
  // False: a state from before there were accounts, which is to be counted.
  bool counted() const { return head_.counted; }
  std::optional<Account> account(InodeId directory) const;
  // Of a directory, from the root; of one in the trash: as it was. ENOENT: its place is gone.
  Result<std::string> pathOf(InodeId directory) const;
  // Of the last request of a session's reply slot that was carried out; 0: there was none.
  uint64_t lastSequence(SessionId session, uint8_t slot) const;
  // Inodes made from now on have this number or a higher one.
  InodeId nextInode() const { return InodeId{head_.nextInode}; }
  bool hasQuotas() const { return head_.quotas > 0; }
  struct Quota {
    InodeId root{};
    Account account;
  };
  std::vector<Quota> quotas() const;
  // Those that count for what is in a directory, the nearest first.
  std::vector<Quota> quotasAbove(InodeId directory) const;
  // By how many bytes files in it may grow without a grant; UINT64_MAX: no quota counts.
  uint64_t bytesLeft(InodeId directory) const;
  struct Grant {
    SessionId session{};
    InodeId root{};
    uint64_t bytes = 0;
  };
  std::vector<Grant> grants() const;
  // In the order in which they go, above `after`; those that came out of one directory.
  std::vector<TrashItem> trash(uint64_t after, size_t max) const;
  std::vector<TrashItem> trashOf(InodeId directory, uint64_t after, size_t max) const;
  std::optional<TrashItem> trashItem(uint64_t id) const;
  uint64_t trashItems() const { return head_.trashItems; }
  // For how long what is deleted in it is kept.
  uint64_t trashSeconds(InodeId directory) const;
  // Directories above `after` that are to be taken apart, and from which cookie on they still have names.
  std::vector<LooseTree> looseTrees(InodeId after, size_t max) const;
  bool hasLooseTrees() const { return head_.looseTrees > 0; }
  // What administrators did: the newest `max`, oldest first.
  std::vector<AuditItem> audit(size_t max) const;
  // Of the whole cluster: those that aren't as cluster.toml says.
  Settings settings() const;
  int64_t nowSeconds() const { return head_.time.seconds; }  // as of the last applied entry
  std::vector<IssuedCertificate> certificates() const;
  std::vector<JoinSecret> joinSecrets() const;
  std::optional<JoinSecret> joinSecret(std::string_view digest) const;
  std::vector<SessionRecord> sessions() const;
  bool sessionExists(SessionId session) const;
  std::vector<Orphan> orphans() const;
  bool isOrphan(InodeId inode) const;

 private:
  const Store& store_;
  const Head& head_;
  const ShardMap& map_;
};

}  // namespace cairn
