#include "master/session/lease_table.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

bool LeaseTable::changesForOthers(SessionId session, InodeId inode) const {
  auto it = changes_.find(inode);
  return it != changes_.end() && (it->second.size() > 1 || it->second.front().by != session);
}

bool LeaseTable::grant(SessionId session, InodeId inode) {
  if (changesForOthers(session, inode)) {
    return false;
  }
  auto& mine = leases_[session];
  if (mine.contains(inode)) {
    return true;
  }
  if (mine.size() >= OF_ONE_MAX || all_ >= ALL_MAX) {
    return false;
  }
  mine.insert(inode);
  holders_[inode].push_back(session);
  ++all_;
  return true;
}

void LeaseTable::release(SessionId session, InodeId inode) {
  auto it = leases_.find(session);
  if (it == leases_.end() || it->second.erase(inode) == 0) {
    return;
  }
  if (it->second.empty()) {
    leases_.erase(it);
  }
  auto holders = holders_.find(inode);
  std::erase(holders->second, session);
  if (holders->second.empty()) {
    holders_.erase(holders);
  }
  --all_;
}

void LeaseTable::releaseAll(SessionId session) {
  auto it = leases_.find(session);
  if (it == leases_.end()) {
    return;
  }
  std::vector<InodeId> inodes(it->second.begin(), it->second.end());
  for (InodeId inode : inodes) {
    release(session, inode);
  }
}

void LeaseTable::beginChange(SessionId by, InodeId inode) {
  auto& changes = changes_[inode];
  auto mine = std::find_if(changes.begin(), changes.end(), [by](auto& change) { return change.by == by; });
  if (mine == changes.end()) {
    changes.push_back({by, 1});
  } else {
    ++mine->count;
  }
}

void LeaseTable::endChange(SessionId by, InodeId inode) {
  auto it = changes_.find(inode);
  KJ_ASSERT(it != changes_.end(), raw(inode));
  auto& changes = it->second;
  auto mine = std::find_if(changes.begin(), changes.end(), [by](auto& change) { return change.by == by; });
  KJ_ASSERT(mine != changes.end(), raw(inode));
  if (--mine->count == 0) {
    changes.erase(mine);
  }
  if (changes.empty()) {
    changes_.erase(it);
  }
}

std::vector<SessionId> LeaseTable::holdersBut(SessionId by, InodeId inode) const {
  std::vector<SessionId> out;
  auto it = holders_.find(inode);
  if (it != holders_.end()) {
    std::copy_if(it->second.begin(), it->second.end(), std::back_inserter(out), [by](SessionId s) { return s != by; });
    std::sort(out.begin(), out.end());
  }
  return out;
}

bool LeaseTable::anyHolderBut(SessionId by) const {
  return leases_.size() > (leases_.contains(by) ? 1u : 0u);
}

size_t LeaseTable::count(SessionId session) const {
  auto it = leases_.find(session);
  return it == leases_.end() ? 0 : it->second.size();
}

}  // namespace cairn
