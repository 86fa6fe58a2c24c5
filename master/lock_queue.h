// LockQueue: drives the waits for locks. Looks who may try whenever locks have gone, and ends a turn that nobody takes.
#pragma once
#include <kj/async.h>

#include <map>
#include <vector>

#include "common/clock.h"
#include "common/task.h"
#include "master/replica.h"
#include "master/session/lock_waits.h"

namespace cairn {

class LockQueue final {
 public:
  LockQueue(Clock& clock, Replica& replica);
  KJ_DISALLOW_COPY(LockQueue);

  // Resolves when the lock may be free. EDEADLK and ENOLCK as LockWaits::add().
  Task<Status> wait(FileLock wanted);
  // Whether it can be told without the log that the lock is refused: many ask in vain. The caller must find that this
  // master leads *after* this.
  bool isRefused(const FileLock& wanted);
  void refused(const FileLock& wanted) { tried(wanted, false); }
  std::vector<FileLock> waiting() const { return waits_.list(); }

  void onApplied(wire::Command::Reader command, const Applied& applied);
  void tick();

 private:
  void tried(const FileLock& wanted, bool granted);
  void look(InodeId inode);

  Clock& clock_;
  const NamespaceReader& reader_;
  LockWaits waits_;
  std::map<uint64_t, kj::Own<kj::PromiseFulfiller<void>>> wakers_;  // of those who wait
};

}  // namespace cairn
