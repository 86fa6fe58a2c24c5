// Calls that end before their work does: their program is being killed or asked to stop, or the mount is soft and its
// time is up. The task is dropped then; buffered data stays, and a change that was sent may still take place.
#include <algorithm>
#include <cstring>

#include "fuse-client/fuse/operations.h"

namespace cairn {
namespace {

constexpr Nanos INTERRUPTED_LOOK_MAX = 200 * MILLISECOND;
// A program that handles the signal gets EINTR when its call has taken so long since: calls that take as long as they
// usually do are never disturbed.
constexpr Nanos STOP_PATIENCE = SECOND;
constexpr Nanos LAST_MOMENT = 500 * MILLISECOND;
constexpr Nanos SLOW_LOOK = 100 * MILLISECOND;
constexpr int SOFT_LOOKS = 4;  // in the time that a soft mount waits, at least

}  // namespace

// libfuse calls this under a lock of its own: so nothing is answered here.
void Operations::interrupted(fuse_req_t, void* data) {
  Call& call = *static_cast<Call*>(data);
  Operations& self = call.owner;
  auto& interrupted = self.interrupted_[call.id];
  interrupted.program = call.request.context().pid;
  interrupted.at = self.clock_.monotonic();
  if (call.request.isInterruptible()) {
    self.tasks_.add(kj::evalLater([&self, id = call.id] { self.endEarly(id, Error{EINTR, "a signal"}); }));
  }
  if (!self.watchingInterrupted_) {
    self.watchingInterrupted_ = true;
    self.tasks_.add(self.watchInterrupted());
  }
}

// The kernel tells of the first signal only. Most signals must not disturb a file operation (a program's
// interval timer would make its writes fail), but one that is about to die must not wait for the cluster, and one that
// is asked to stop must hear of it. So the interrupted ones are looked at again until they are done or may end.
Task<void> Operations::watchInterrupted() {
  Nanos pause = MILLISECOND;
  while (!interrupted_.empty()) {
    co_await clock_.after(pause);
    pause = std::min(2 * pause, INTERRUPTED_LOOK_MAX);
    for (auto next = interrupted_.begin(); next != interrupted_.end();) {
      auto& [id, interrupted] = *next++;
      auto call = calls_.find(id);
      if (call != calls_.end() && mayEnd(*call->second, interrupted)) {
        endEarly(id, Error{EINTR, "a signal"});
      }
    }
  }
  watchingInterrupted_ = false;
}

// Any signal ends a wait for a lock. For the rest the program must be being killed, and even then what it had begun has
// a moment to be done: who has waited for its end takes it that nothing of it comes later, as in a local file system.
// Or it must have been asked to stop.
bool Operations::mayEnd(const Call& call, Interrupted& interrupted) {
  if (call.request.isInterruptible()) {
    return true;
  }
  Nanos now = clock_.monotonic();
  if (interrupted.killedAt == 0 && processes_.beingKilled(interrupted.program)) {
    interrupted.killedAt = now;
  }
  bool killed = interrupted.killedAt != 0 && now - interrupted.killedAt >= LAST_MOMENT;
  return killed || (now - interrupted.at >= STOP_PATIENCE && processes_.isAskedToStop(interrupted.program));
}

// One task for all calls, so that those which end soon, as nearly all do, pay nothing for it.
Task<void> Operations::watchSlow() {
  const Nanos soft = options_.softTimeout;
  const Nanos pause = soft == 0 ? SLOW_LOOK : std::min(SLOW_LOOK, soft / SOFT_LOOKS);
  while (!calls_.empty()) {
    co_await clock_.after(pause);
    std::vector<uint64_t> late, unheard;
    for (auto& [id, call] : calls_) {
      Nanos age = clock_.monotonic() - call->request.since();
      if (soft > 0 && age >= soft && !call->request.isInterruptible()) {
        late.push_back(id);
      } else if (age >= SLOW_LOOK && isToEnd(*call)) {
        unheard.push_back(id);
      }
    }
    for (uint64_t id : late) {
      endEarly(id, Error{EIO, "soft mount: the cluster did not answer in time"});
    }
    for (uint64_t id : unheard) {
      endEarly(id, Error{EINTR, "its program is gone"});
    }
  }
  watchingSlow_ = false;
}

// A program that has been killed closes its files on its way out. No signal reaches it there, so nobody says that it
// shouldn't wait.
bool Operations::isToEnd(const Call& call) const {
  return std::strcmp(call.request.operation(), "flush") == 0 && processes_.isExiting(call.request.context().pid);
}

void Operations::endEarly(uint64_t id, const Error& error) {
  auto call = calls_.find(id);
  if (call != calls_.end()) {
    call->second->request.fail(error);
    ended(*call->second);  // and with it the task: the wait ends, buffered data stays
  }
}

}  // namespace cairn
