#include "master/session/session_table.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn {

void SessionTable::add(SessionId id, std::string name, Nanos now) {
  auto [it, added] = sessions_.try_emplace(id);
  if (!added) {
    return;
  }
  it->second.name = std::move(name);
  it->second.leaseEnd = now + SESSION_LEASE + SESSION_MARGIN;
  uncertain_.insert(id);
}

uint64_t SessionTable::attach(SessionId id, uint64_t attempt, bool fresh, Nanos now) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || attempt < it->second.attempt) {
    return 0;
  }
  it->second.attempt = attempt;
  it->second.link = ++lastLink_;
  it->second.leaseEnd = std::max(it->second.leaseEnd, now + SESSION_LEASE + SESSION_MARGIN);
  setCertain(id, it->second, fresh);
  return lastLink_;
}

void SessionTable::detach(SessionId id, uint64_t link) {
  auto it = sessions_.find(id);
  if (it != sessions_.end() && it->second.link == link) {
    it->second.link = 0;
    setCertain(id, it->second, false);
  }
}

void SessionTable::setCertain(SessionId id, Session& session, bool certain) {
  session.certain = certain;
  if (certain) {
    uncertain_.erase(id);
  } else {
    uncertain_.insert(id);
  }
}

bool SessionTable::isCurrent(SessionId id, uint64_t link) const {
  auto it = sessions_.find(id);
  return it != sessions_.end() && it->second.link == link;
}

void SessionTable::renew(SessionId id, Nanos now) {
  auto it = sessions_.find(id);
  if (it != sessions_.end()) {
    it->second.leaseEnd = std::max(it->second.leaseEnd, now + SESSION_LEASE + SESSION_MARGIN);
  }
}

bool SessionTable::settle(SessionId id, const std::vector<InodeId>& complete) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.certain) {
    return false;
  }
  std::unordered_set<InodeId> keep(complete.begin(), complete.end());
  std::vector<InodeId> gone;
  for (InodeId inode : it->second.holds) {
    if (!keep.contains(inode)) {
      gone.push_back(inode);
    }
  }
  for (InodeId inode : gone) {
    drop(id, inode);
  }
  setCertain(id, it->second, true);
  return true;
}

bool SessionTable::take(SessionId id, InodeId inode) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.holds.size() >= HOLDS_MAX) {
    return false;
  }
  if (it->second.holds.insert(inode).second) {
    holders_[inode].push_back(id);
  }
  return true;
}

bool SessionTable::drop(SessionId id, InodeId inode) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.holds.erase(inode) == 0) {
    return false;
  }
  forget(id, inode);
  return true;
}

void SessionTable::forget(SessionId id, InodeId inode) {
  auto it = holders_.find(inode);
  KJ_ASSERT(it != holders_.end(), raw(inode));
  std::erase(it->second, id);
  if (it->second.empty()) {
    holders_.erase(it);
  }
}

bool SessionTable::holds(SessionId id, InodeId inode) const {
  auto it = sessions_.find(id);
  return it != sessions_.end() && (!it->second.certain || it->second.holds.contains(inode));
}

std::vector<SessionId> SessionTable::holders(InodeId inode) const {
  std::set<SessionId> out = uncertain_;
  auto it = holders_.find(inode);
  if (it != holders_.end()) {
    out.insert(it->second.begin(), it->second.end());
  }
  return {out.begin(), out.end()};
}

std::vector<SessionId> SessionTable::passTime(Nanos now) {
  bool stalled = now - lastLook_ > STALL_NANOS;
  lastLook_ = now;
  std::vector<SessionId> out;
  for (auto& [id, session] : sessions_) {
    if (stalled) {
      // This process stood still; renewals may be waiting unread behind this call.
      session.leaseEnd = std::max(session.leaseEnd, now + SESSION_LEASE / 2);
    }
    if (now >= session.leaseEnd) {
      out.push_back(id);
    }
  }
  return out;
}

void SessionTable::end(SessionId id) {
  auto it = sessions_.find(id);
  if (it == sessions_.end()) {
    return;
  }
  for (InodeId inode : it->second.holds) {
    forget(id, inode);
  }
  uncertain_.erase(id);
  sessions_.erase(it);
}

std::vector<SessionTable::Summary> SessionTable::list() const {
  std::vector<Summary> out;
  for (auto& [id, session] : sessions_) {
    out.push_back({id, session.name, session.holds.size(), session.leaseEnd, session.link != 0});
  }
  return out;
}

}  // namespace cairn
