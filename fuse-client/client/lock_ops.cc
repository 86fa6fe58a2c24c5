// The operations of Client on locks. Locks are the master's; what this mount keeps is who may have some (lock_book.h).
#include "common/log.h"
#include "fuse-client/client/client_impl.h"
#include "fuse-client/client/wire.h"

namespace cairn {
namespace {

wire::LockType typeOf(LockMode mode) {
  switch (mode) {
    case LockMode::NONE:
      return wire::LockType::NONE;
    case LockMode::SHARED:
      return wire::LockType::SHARED;
    case LockMode::EXCLUSIVE:
      return wire::LockType::EXCLUSIVE;
  }
  KJ_UNREACHABLE;
}

LockMode modeOf(wire::LockType type) {
  switch (type) {
    case wire::LockType::SHARED:
      return LockMode::SHARED;
    case wire::LockType::EXCLUSIVE:
      return LockMode::EXCLUSIVE;
    default:
      return LockMode::NONE;
  }
}

void writeWish(InodeId inode, const LockWish& wish, wire::LockRequest::Builder out) {
  out.setInode(raw(inode));
  out.setOwner(wish.owner);
  out.setPid(wish.pid);
  out.setKind(wish.flock ? wire::LockKind::FLOCK : wire::LockKind::POSIX);
  out.setType(typeOf(wish.mode));
  out.setFirst(wish.first);
  out.setLast(wish.last);
}

LockBook::Key keyOf(InodeId inode, const LockWish& wish) {
  return {inode, wish.flock, wish.owner};
}

}  // namespace

void Client::Impl::noteLocks(const LockBook::Key& key, HandleId handle) {
  locks.note(key, handle);
  context.ledger->mayHaveLocks({key.inode, key.flock, key.owner, handle});
}

void Client::Impl::eraseLocks(const LockBook::Key& key) {
  locks.erase(key);
  context.ledger->hasNoLocks({key.inode, key.flock, key.owner, HandleId{}});
}

Task<Status> Client::Impl::lock(kj::Own<Handle> handle, HandleId id, LockWish wish) {
  InodeId inode = handle->inode->id;
  auto key = keyOf(inode, wish);
  bool takes = wish.mode != LockMode::NONE;
  LockBook::Turn turn(locks, key);
  co_await turn.ready(takes);
  if (takes && handle->locksLost) {
    co_return lostLocks();
  }
  bool had = locks.mayHave(key);
  if (takes) {
    noteLocks(key, id);
  }
  auto op = kj::heap<MasterSession::OpDraft>();
  (*op)->initCaller();
  writeWish(inode, wish, (*op)->initLock());
  auto done = co_await session.execute(kj::mv(op));
  bool lost = wish.flock && done.code() == EAGAIN;  // who fails to convert a flock has none
  bool untouched = takes && !had && (done.code() == EAGAIN || done.code() == ESTALE || done.code() == ENOLCK);
  bool all = !takes && wish.first == 0 && wish.last >= INT64_MAX && done.ok();
  if (lost || untouched || all) {
    eraseLocks(key);
  }
  co_return done.ok() ? Status() : Status(done.error());
}

Task<Status> Client::Impl::unlockAll(LockBook::Key key) {
  LockBook::Leaving leaving(locks, key.inode);
  LockBook::Turn turn(locks, key);
  co_await turn.ready(false);
  if (!locks.mayHave(key)) {
    co_return Status();
  }
  LockWish nothing;
  nothing.flock = key.flock;
  nothing.owner = key.owner;
  auto op = kj::heap<MasterSession::OpDraft>();
  (*op)->initCaller();
  writeWish(key.inode, nothing, (*op)->initLock());
  auto done = co_await session.execute(kj::mv(op));
  if (!done.ok()) {
    spdlog::warn("inode {}: locks of a closed file stay until the session ends: {}", raw(key.inode), done.error().why);
  }
  eraseLocks(key);
  co_return done.ok() ? Status() : Status(done.error());
}

void Client::Impl::unlockThrough(InodeId inode, HandleId handle) {
  for (const auto& key : locks.through(inode, handle)) {
    tasks.add(unlockAll(key).promise().ignoreResult());
  }
}

void Client::Impl::locksLost() {
  for (auto& [id, handle] : handles) {
    if (locks.mayHave(handle->inode->id)) {
      spdlog::error("inode {}: the session's locks on it are gone; who has it open gets EIO", raw(handle->inode->id));
      handle->locksLost = true;
      context.ledger->locksLost(HandleId{id});
    }
  }
  locks.clear();
}

// What was sent comes to its end even if nobody waits for it: else nobody would know whether there is a lock.
Task<Status> Client::lock(HandleId id, LockWish wish) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto work = impl_->lock(kj::mv(found).value(), id, wish).promise();
  co_return co_await impl_->toTheEnd(kj::mv(work));
}

Task<Status> Client::awaitLock(HandleId id, LockWish wish) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  auto wanted = kj::heap<Draft<wire::LockRequest>>();
  writeWish(handle->inode->id, wish, **wanted);
  co_return co_await impl_->session.awaitLock(kj::mv(wanted));
}

Task<Result<LockWish>> Client::testLock(HandleId id, LockWish wish) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  auto handle = kj::mv(found).value();
  auto query = kj::heap<MasterSession::QueryDraft>();
  (*query)->initCaller();
  writeWish(handle->inode->id, wish, (*query)->initTestLock());
  auto answer = co_await impl_->session.query(kj::mv(query));
  if (!answer.ok()) {
    co_return answer.error();
  }
  auto lock = answer.value().getAnswer().getLock();
  LockWish out;
  out.mode = modeOf(lock.getType());
  out.pid = lock.getPid();
  out.first = lock.getFirst();
  out.last = lock.getLast();
  co_return out;
}

Task<Status> Client::unlockAll(HandleId id, uint64_t owner) {
  auto found = impl_->handle(id);
  if (!found.ok()) {
    co_return found.error();
  }
  LockBook::Key key{found.value()->inode->id, false, owner};
  if (!impl_->locks.mayHaveOrGet(key)) {
    co_return Status();
  }
  auto work = impl_->unlockAll(key).promise();
  co_return co_await impl_->toTheEnd(kj::mv(work));
}

}  // namespace cairn
