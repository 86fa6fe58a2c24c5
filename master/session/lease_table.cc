#include "master/session/lease_table.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

bool LeaseTable::changesForOthers(SessionId session, InodeId inode) const {
  auto it = changes_.find(inode);
  return it != changes_.end() && (it->second.size() > 1 || it->second.front().by != session);
}

bool LeaseTable::grant(SessionId session, InodeId inode) {
  if (changesForOthers(session, inode) || writerBut(session, inode)) {
    return false;
  }
  auto mine = leases_.find(session);
  if (mine != leases_.end() && mine->second.contains(inode)) {
    return true;
  }
  if ((mine != leases_.end() && mine->second.size() >= OF_ONE_MAX) || all_ >= ALL_MAX) {
    return false;
  }
  add(session, inode);
  return true;
}

void LeaseTable::add(SessionId session, InodeId inode) {
  if (leases_[session].insert(inode).second) {
    holders_[inode].push_back(session);
    ++all_;
  }
}

bool LeaseTable::grantWriting(SessionId session, InodeId inode, uint64_t order) {
  if (changesForOthers(session, inode) || !holdersBut(session, inode).empty()) {
    return false;
  }
  add(session, inode);
  writers_[inode] = {session, order};
  return true;
}

bool LeaseTable::takeUpWriting(SessionId session, InodeId inode) {
  if (!holdersBut(session, inode).empty()) {
    return false;
  }
  add(session, inode);
  writers_[inode] = {session, 0};
  return true;
}

void LeaseTable::endWriting(SessionId session, InodeId inode, uint64_t order) {
  auto it = writers_.find(inode);
  if (it != writers_.end() && it->second.session == session && it->second.order < order) {
    writers_.erase(it);
  }
}

std::optional<SessionId> LeaseTable::writerBut(SessionId but, InodeId inode) const {
  auto it = writers_.find(inode);
  return it == writers_.end() || it->second.session == but ? std::nullopt : std::optional(it->second.session);
}

bool LeaseTable::isWriting(SessionId session, InodeId inode) const {
  auto it = writers_.find(inode);
  return it != writers_.end() && it->second.session == session;
}

std::vector<InodeId> LeaseTable::written() const {
  std::vector<InodeId> out;
  for (auto& [inode, writer] : writers_) {
    out.push_back(inode);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<InodeId> LeaseTable::writtenBy(SessionId session) const {
  std::vector<InodeId> out;
  auto mine = leases_.find(session);
  if (mine != leases_.end()) {
    for (InodeId inode : mine->second) {
      if (isWriting(session, inode)) {
        out.push_back(inode);
      }
    }
  }
  return out;
}

void LeaseTable::release(SessionId session, InodeId inode) {
  auto it = leases_.find(session);
  if (it == leases_.end() || it->second.erase(inode) == 0) {
    return;
  }
  if (it->second.empty()) {
    leases_.erase(it);
  }
  endWriting(session, inode);
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
