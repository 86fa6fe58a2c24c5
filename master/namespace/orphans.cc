// Orphans: inodes without a name that sessions still hold open, and the end of inodes.
#include <sys/stat.h>

#include <set>

#include "master/namespace/keys.h"
#include "master/namespace/operations.h"
#include "master/namespace/quota.h"

namespace cairn {

namespace {

std::set<SessionId> holdersOf(const Execution& execution, const Requester& client, const InodeRecord& inode) {
  std::set<SessionId> holders;
  for (auto holder : client.command.getHolders()) {
    if (InodeId{holder.getInode()} == inode.id) {
      for (uint64_t session : holder.getSessions()) {
        holders.insert(SessionId{session});
      }
    }
  }
  // Made, and opened by the same operation, after the holders were gathered: nobody could tell the leader then.
  if (inode.madeAt > LogIndex{client.command.getHoldersAt()}) {
    holders.insert(inode.madeBy);
  }
  std::erase_if(holders, [&](SessionId session) { return !sessionExists(execution.store, session); });
  return holders;
}

// Nobody can reach it any more.
void leave(Execution& execution, InodeRecord& inode, std::optional<TrashItem> item, bool inUse) {
  if (item) {
    bury(execution, inode, *item, inUse);
  } else if (S_ISDIR(inode.mode)) {
    freeDirectory(execution, inode);
  } else {
    freeInode(execution, inode, inUse);
  }
}

}  // namespace

void loseLastName(Execution& execution, const Requester& client, InodeRecord& inode, const LostName& lost) {
  auto item = trashItemFor(execution, inode, lost);
  auto holders = holdersOf(execution, client, inode);
  if (holders.empty()) {
    leave(execution, inode, item, false);
    return;
  }
  if (item) {
    execution.store.put(keys::will(inode.id), encode(*item));
  }
  for (SessionId session : holders) {
    keepOrphan(execution, inode.id, session);
  }
  save(execution, inode);
  execution.changes.orphaned.push_back(inode.id);
}

void keepOrphan(Execution& execution, InodeId inode, SessionId session) {
  execution.store.put(keys::orphan(inode, session), {});
  execution.store.put(keys::held(session, inode), {});
}

void adopt(Execution& execution, InodeRecord& inode) {
  inode.linkable = false;
  std::vector<SessionId> holders;
  for (auto at = execution.store.scan(keys::orphan(inode.id)); at.valid(); at.next()) {
    holders.push_back(SessionId{keys::numberAt(at.key(), keys::SECOND_ID)});
  }
  for (SessionId session : holders) {
    execution.store.erase(keys::orphan(inode.id, session));
    execution.store.erase(keys::held(session, inode.id));
  }
}

void freeInode(Execution& execution, const InodeRecord& inode, bool inUse) {
  if (S_ISDIR(inode.mode) && execution.head.counted) {
    forgetQuota(execution, inode.id);
    execution.accounts.erase(inode.id);
  }
  reclaimObject(execution, inode, inUse);
  if (inode.xattrs > 0) {
    std::vector<std::string> names;
    for (auto at = execution.store.scan(keys::xattrs(inode.id)); at.valid(); at.next()) {
      names.emplace_back(at.key());
    }
    for (auto& name : names) {
      execution.store.erase(kj::mv(name));
    }
  }
  execution.store.erase(keys::inode(inode.id));
  --execution.head.inodes;
  execution.head.allocated -= inode.allocated;
}

void dropHold(Execution& execution, SessionId session, InodeId id) {
  if (!execution.store.has(keys::orphan(id, session))) {
    return;
  }
  execution.store.erase(keys::orphan(id, session));
  execution.store.erase(keys::held(session, id));
  InodeRecord inode;
  if (!hasHolder(execution.store, id) && find(execution.store, id, inode)) {
    leave(execution, inode, takeWill(execution, id), true);
  }
}

Status dropHolds(Execution& execution, wire::DropHolds::Reader command) {
  for (uint64_t inode : command.getInodes()) {
    dropHold(execution, SessionId{command.getSession()}, InodeId{inode});
  }
  return {};
}

}  // namespace cairn
