#include "master/admin_locks.h"

#include <algorithm>
#include <map>
#include <string>

#include "common/log.h"
#include "master/namespace/lock_table.h"
#include "master/propose.h"

namespace cairn {

void writeLocks(const Core& core, wire::Admin::LocksResults::Builder out) {
  std::map<SessionId, std::string> names;
  for (auto& session : core.sessions.table().list()) {
    names[session.id] = session.name;
  }
  auto held = core.replica.reader().allLocks(LOCKS_LISTED_MAX);
  auto waiting = core.locks.waiting();
  waiting.resize(std::min(waiting.size(), LOCKS_LISTED_MAX));
  auto list = out.initLocks(static_cast<unsigned>(held.size() + waiting.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    bool waits = i >= held.size();
    const FileLock& lock = waits ? waiting[i - held.size()] : held[i];
    list[i].setSession(raw(lock.owner.session));
    list[i].setSessionName(names[lock.owner.session]);
    list[i].setWaiting(waits);
    writeLock(lock, list[i].initLock());
  }
}

Task<Status> breakLock(Core& core, wire::LockInfo::Reader lock) {
  spdlog::warn("a lock of session {} on inode {} is being broken by an administrator", lock.getSession(),
               lock.getLock().getInode());
  auto fill = [lock](wire::Command::Builder command) {
    auto out = command.initBreakLock();
    out.setSession(lock.getSession());
    out.setLock(lock.getLock());
  };
  auto applied = co_await propose(core.replica, fill);
  co_return outcomeOf(applied);
}

}  // namespace cairn
