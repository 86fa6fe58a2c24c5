#include "master/lock_queue.h"

#include <capnp/serialize.h>

#include "master/namespace/lock_table.h"

namespace cairn {

LockQueue::LockQueue(Clock& clock, Replica& replica)
    : clock_(clock),
      reader_(replica.reader()),
      waits_([this](InodeId inode, wire::LockKind kind) { return reader_.locks(inode, kind); }) {}

Task<Status> LockQueue::wait(FileLock wanted) {
  auto added = waits_.add(wanted, clock_.monotonic());
  if (!added.ok()) {
    co_return added.error();
  }
  uint64_t number = added.value();
  auto paf = kj::newPromiseAndFulfiller<void>();
  wakers_[number] = kj::mv(paf.fulfiller);
  KJ_DEFER({
    waits_.remove(number);
    wakers_.erase(number);
  });
  look(wanted.inode);  // what was in the way may have gone meanwhile
  co_await kj::mv(paf.promise);
  co_return Status();
}

bool LockQueue::isRefused(const FileLock& wanted) {
  auto held = reader_.locks(wanted.inode, wanted.kind);
  // Who converts a flock loses what it has, which is for the log to say.
  bool changes = wanted.kind == wire::LockKind::FLOCK && !changeOf(held, wanted).removed.empty();
  return !changes && inTheWay(held, wanted) != nullptr;
}

void LockQueue::tried(const FileLock& wanted, bool granted) {
  waits_.tried(wanted, granted);
  look(wanted.inode);
}

void LockQueue::look(InodeId inode) {
  for (uint64_t number : waits_.call(inode, clock_.monotonic())) {
    auto waker = wakers_.find(number);
    if (waker != wakers_.end()) {
      waker->second->fulfill();
    }
  }
}

void LockQueue::onApplied(wire::Command::Reader command, const Applied& applied) {
  for (SessionId session : applied.changes.ended) {
    waits_.removeAll(session);
  }
  for (auto waker = wakers_.begin(); waker != wakers_.end() && !applied.changes.ended.empty();) {
    auto [number, fulfiller] = std::pair(waker->first, waker->second.get());
    ++waker;
    if (!waits_.contains(number)) {
      fulfiller->reject(KJ_EXCEPTION(DISCONNECTED, "the session has ended"));
    }
  }
  if (command.isClient() && command.getClient().getOp().isLock()) {
    auto request = command.getClient().getOp().getLock();
    if (checkLock(request).ok()) {
      capnp::FlatArrayMessageReader message(applied.reply);
      bool granted = message.getRoot<wire::Reply>().getOutcome().getErrno() == 0;
      tried(readLock(SessionId{command.getClient().getSession()}, request), granted);
    }
  }
  for (InodeId inode : applied.changes.unlocked) {
    look(inode);
  }
}

void LockQueue::tick() {
  for (InodeId inode : waits_.passTime(clock_.monotonic())) {
    look(inode);
  }
}

}  // namespace cairn
