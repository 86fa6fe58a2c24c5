// The operations on locks. They are keys of the state like all others, so that a new leader knows them; who waits for
// one stands in the leader's memory (master/lock_queue.h).
#include "master/namespace/lock_table.h"

#include <cerrno>

#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {


std::string keyOf(const FileLock& lock) {
  return keys::lock({lock.inode, static_cast<uint8_t>(lock.kind), lock.first, lock.owner.session, lock.owner.id});
}

FileLock lockAt(const Store::Cursor& at) {
  auto parts = keys::lockParts(at.key());
  LockRecord record;
  decode(at.value(), record);
  FileLock lock;
  lock.inode = parts.inode;
  lock.kind = static_cast<wire::LockKind>(parts.kind);
  lock.type = static_cast<wire::LockType>(record.type);
  lock.owner = {parts.session, parts.owner};
  lock.first = parts.first;
  lock.last = record.last;
  lock.pid = record.pid;
  return lock;
}

// How many locks a session has on a file: so that its end finds them.
uint64_t countOf(const Store& store, SessionId session, InodeId inode) {
  std::string value;
  return store.get(keys::locked(session, inode), value) ? decodeNumber(value) : 0;
}

void setCount(Execution& execution, SessionId session, InodeId inode, uint64_t count) {
  if (count == 0) {
    execution.store.erase(keys::locked(session, inode));
  } else {
    execution.store.put(keys::locked(session, inode), encodeNumber(count));
  }
}

// False: more than LOCKS_MAX would be left.
bool carryOut(Execution& execution, const LockChange& change, const LockOwner& owner, InodeId inode) {
  if (change.removed.empty() && change.added.empty()) {
    return true;
  }
  uint64_t count = countOf(execution.store, owner.session, inode) + change.added.size() - change.removed.size();
  if (count > LOCKS_MAX && change.added.size() > change.removed.size()) {
    return false;
  }
  for (const auto& lock : change.removed) {
    execution.store.erase(keyOf(lock));
  }
  for (const auto& lock : change.added) {
    LockRecord record{static_cast<uint8_t>(lock.type), lock.last, lock.pid};
    execution.store.put(keyOf(lock), encode(record));
  }
  setCount(execution, owner.session, inode, count);
  if (!change.removed.empty()) {
    execution.changes.unlocked.push_back(inode);
  }
  return true;
}

FileLock released(FileLock lock) {
  lock.type = wire::LockType::NONE;
  return lock;
}

}  // namespace

Status checkLock(wire::LockRequest::Reader in) {
  bool known = in.getKind() <= wire::LockKind::FLOCK && in.getType() <= wire::LockType::EXCLUSIVE;
  return known && in.getFirst() <= in.getLast() ? Status() : Status(Error{EINVAL, "not a lock"});
}

FileLock readLock(SessionId session, wire::LockRequest::Reader in) {
  FileLock lock;
  lock.inode = InodeId{in.getInode()};
  lock.kind = in.getKind();
  lock.type = in.getType();
  lock.owner = {session, in.getOwner()};
  if (lock.kind == wire::LockKind::POSIX) {
    lock.first = in.getFirst();
    lock.last = in.getLast();
  }
  lock.pid = in.getPid();
  return lock;
}

void writeLock(const FileLock& lock, wire::LockRequest::Builder out) {
  out.setInode(raw(lock.inode));
  out.setOwner(lock.owner.id);
  out.setPid(lock.pid);
  out.setKind(lock.kind);
  out.setType(lock.type);
  out.setFirst(lock.first);
  out.setLast(lock.last);
}

std::vector<FileLock> locksOn(const Store& store, InodeId inode, wire::LockKind kind, uint64_t last) {
  std::vector<FileLock> found;
  for (auto at = store.scan(keys::locks(inode, static_cast<uint8_t>(kind))); at.valid(); at.next()) {
    auto lock = lockAt(at);
    if (lock.first > last && lock.first - last > 1) {
      break;
    }
    found.push_back(lock);
  }
  return found;
}

// What is released needn't be on a file that is still there: its last name may have gone since it was locked.
Status lock(Execution& execution, const Requester& client, wire::LockRequest::Reader op) {
  auto checked = checkLock(op);
  if (!checked.ok()) {
    return checked;
  }
  FileLock wanted = readLock(client.session, op);
  InodeRecord inode;
  if (wanted.type != wire::LockType::NONE) {
    auto reached = reach(execution.store, wanted.inode, inode);
    if (!reached.ok()) {
      return reached;
    }
  }
  auto held = locksOn(execution.store, wanted.inode, wanted.kind, wanted.last);
  bool refused = inTheWay(held, wanted) != nullptr;
  if (refused && wanted.kind == wire::LockKind::FLOCK) {
    // As flock(2) has it: who converts a lock first loses it. Two that both want to convert would block each other.
    carryOut(execution, changeOf(held, released(wanted)), wanted.owner, wanted.inode);
  }
  if (refused) {
    return Error{EAGAIN, "somebody else's lock is in the way"};
  }
  bool fits = carryOut(execution, changeOf(held, wanted), wanted.owner, wanted.inode);
  return fits ? Status() : Status(Error{ENOLCK, "this mount has as many locks on the file as it may"});
}

Status breakLock(Execution& execution, wire::LockBreak::Reader command) {
  auto checked = checkLock(command.getLock());
  if (!checked.ok()) {
    return checked;
  }
  auto gone = released(readLock(SessionId{command.getSession()}, command.getLock()));
  auto change = changeOf(locksOn(execution.store, gone.inode, gone.kind, gone.last), gone);
  if (change.removed.empty()) {
    return Error{ENOENT, "there is no such lock (any more)"};
  }
  bool fits = carryOut(execution, change, gone.owner, gone.inode);
  return fits ? Status() : Status(Error{ENOLCK, "what is left of the lock would be one too many; break all of it"});
}

void dropLocks(Execution& execution, SessionId session) {
  std::vector<InodeId> inodes;
  for (auto at = execution.store.scan(keys::locked(session)); at.valid(); at.next()) {
    inodes.push_back(InodeId{keys::numberAt(at.key(), keys::SECOND_ID)});
  }
  for (InodeId inode : inodes) {
    for (auto kind : {wire::LockKind::POSIX, wire::LockKind::FLOCK}) {
      for (const auto& lock : locksOn(execution.store, inode, kind)) {
        if (lock.owner.session == session) {
          execution.store.erase(keyOf(lock));
        }
      }
    }
    execution.store.erase(keys::locked(session, inode));
    execution.changes.unlocked.push_back(inode);
  }
}

std::vector<FileLock> NamespaceReader::locks(InodeId inode, wire::LockKind kind) const {
  return locksOn(store_, inode, kind);
}

std::vector<FileLock> NamespaceReader::allLocks(size_t max) const {
  std::vector<FileLock> found;
  for (auto at = store_.scan(keys::LOCKS); at.valid() && found.size() < max; at.next()) {
    found.push_back(lockAt(at));
  }
  return found;
}

}  // namespace cairn
