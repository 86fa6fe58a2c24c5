// Sessions: drives the session table and the fences. Opens and ends sessions through the log, finds leases that ran
// out, tells the state which orphans nobody holds any more.
#pragma once
#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "common/task.h"
#include "master/chunkservers.h"
#include "master/leases.h"
#include "master/replica.h"
#include "master/session/fenced_list.h"
#include "master/session/session_table.h"

namespace cairn {

class Sessions final : private Leases::Evictor, private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t DROPS_AT_ONCE_MAX = 4096;  // in one log entry

  struct Attached {
    SessionId session{};
    uint64_t link = 0;
  };

  Sessions(Clock& clock, Random& random, Replica& replica, const Chunkservers& chunkservers);
  ~Sessions() noexcept(false);

  // `holder` is asked for the session's leases; none: it gets none.
  using Holder = kj::Maybe<wire::LeaseHolder::Client>;
  // A new session.
  Task<Result<Attached>> open(std::string name, uint64_t attempt, Holder holder);
  // Takes one up again. ESTALE: it has ended. EALREADY: a later attempt of its client has been here.
  // `writing`: files that it goes on writing.
  Result<Attached> takeUp(SessionId session, uint64_t attempt, Holder holder, const std::vector<InodeId>& writing);
  void linkLost(SessionId session, uint64_t link);
  // Ends it; success also when it has ended already. ENOENT: there never was one, or long ago.
  Task<Status> end(SessionId session);

  // A message of the session's current link has arrived; false: the link is not the current one. `taken`: it is a
  // hold() that names these.
  bool enter(SessionId session, uint64_t link, const std::vector<InodeId>& taken = {});
  bool take(SessionId session, InodeId inode) { return table_.take(session, inode); }
  void drop(SessionId session, InodeId inode);
  std::vector<SessionId> holders(InodeId inode) const { return table_.holders(inode); }

  const SessionTable& table() const { return table_; }
  Leases& leases() { return leases_; }
  void onApplied(wire::Command::Reader command, const Applied& applied);
  void mapChanged();
  void tick();

 private:
  static constexpr Nanos FENCE_LOOK = 10 * SECOND;

  void dropOrphansOf(SessionId session);
  void dropFromState(SessionId session, InodeId inode);
  Task<void> flushDrops();
  void evict(SessionId session, const std::string& why) override;
  Task<void> endExpired(SessionId session);
  Task<void> unfence();
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  Random& random_;
  Replica& replica_;
  const Chunkservers& chunkservers_;
  SessionTable table_;
  Leases leases_;
  FencedList fencedList_;
  std::set<SessionId> ending_;
  std::map<SessionId, std::vector<InodeId>> drops_;  // of orphans, for the log
  bool flushing_ = false;
  Nanos fencesLooked_ = 0;
  bool unfencing_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
