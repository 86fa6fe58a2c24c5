#include "master/sessions.h"

#include <algorithm>

#include "common/log.h"
#include "master/propose.h"

namespace cairn {

Sessions::Sessions(Clock& clock, Random& random, Replica& replica, const Chunkservers& chunkservers)
    : clock_(clock),
      random_(random),
      replica_(replica),
      chunkservers_(chunkservers),
      table_(clock.monotonic()),
      leases_(clock, replica.reader(), *this),
      tasks_(*this) {
  for (auto& session : replica.reader().sessions()) {
    table_.add(session.id, session.name, clock.monotonic());
  }
  mapChanged();
}

Sessions::~Sessions() noexcept(false) = default;

void Sessions::taskFailed(kj::Exception&& e) {
  spdlog::error("sessions: {}", kj::str(e).cStr());
}

Task<Result<Sessions::Attached>> Sessions::open(std::string name, uint64_t attempt, Holder holder) {
  if (table_.size() >= SessionTable::SESSIONS_MAX) {
    co_return Error{EUSERS, "there are " + std::to_string(table_.size()) +
                                " sessions, the most there can be: see dfsadmin session list"};
  }
  auto nonce = random_.uuid<Uuid<struct NonceTag>>();
  auto fill = [&](wire::Command::Builder command) {
    auto out = command.initOpenSession();
    out.setName(name);
    toWire(nonce, out.initNonce());
    out.setLeases(holder != nullptr);
  };
  auto applied = co_await propose(replica_, fill);
  Status outcome = outcomeOf(applied);
  if (!outcome.ok()) {
    co_return outcome.error();
  }
  SessionId session = applied.value().changes.opened;
  table_.add(session, name, clock_.monotonic());
  uint64_t link = table_.attach(session, attempt, true, clock_.monotonic());
  leases_.attached(session, kj::mv(holder));
  spdlog::info("session {} of {} begins", raw(session), name);
  co_return Attached{session, link};
}

Result<Sessions::Attached> Sessions::takeUp(SessionId session, uint64_t attempt, Holder holder,
                                            const std::vector<InodeId>& writing) {
  if (ending_.contains(session) || !table_.contains(session)) {
    return Error{ESTALE, "session " + std::to_string(raw(session)) +
                             " has ended: its lease ran out, it was evicted, or it was closed"};
  }
  uint64_t link = table_.attach(session, attempt, false, clock_.monotonic());
  if (link == 0) {
    return Error{EALREADY, "session " + std::to_string(raw(session)) + " has been taken up over a newer link"};
  }
  if (!leases_.attached(session, kj::mv(holder), writing)) {
    evict(session, "it wants to go on writing what others have leases on");
    return Error{ESTALE, "session " + std::to_string(raw(session)) + " writes what others have leases on by now"};
  }
  return Attached{session, link};
}

void Sessions::linkLost(SessionId session, uint64_t link) {
  if (table_.isCurrent(session, link)) {
    leases_.linkLost(session);
  }
  table_.detach(session, link);
}

Task<Status> Sessions::end(SessionId session) {
  if (!table_.contains(session)) {
    co_return Error{ENOENT, "there is no session " + std::to_string(raw(session))};
  }
  bool mine = ending_.insert(session).second;
  auto fill = [session](wire::Command::Builder command) { command.setEndSession(raw(session)); };
  auto applied = co_await propose(replica_, fill);
  Status outcome = outcomeOf(applied);
  if (mine && !outcome.ok()) {
    ending_.erase(session);  // to be tried again by whoever wanted it, or when the lease has run out
  }
  co_return outcome.code() == ESTALE ? Status() : outcome;
}

bool Sessions::enter(SessionId session, uint64_t link, const std::vector<InodeId>& taken) {
  if (!table_.isCurrent(session, link) || ending_.contains(session)) {
    return false;
  }
  table_.renew(session, clock_.monotonic());
  if (table_.settle(session, taken)) {
    for (InodeId inode : taken) {
      table_.take(session, inode);
    }
    dropOrphansOf(session);
  }
  return true;
}

// While nobody knew what the session holds it counted as a holder of whatever lost its name.
void Sessions::dropOrphansOf(SessionId session) {
  for (auto& orphan : replica_.reader().orphans()) {
    bool listed = std::find(orphan.holders.begin(), orphan.holders.end(), session) != orphan.holders.end();
    // One made without a name may be in a reply that the client hasn't had yet. It says when it drops it.
    auto record = replica_.reader().record(orphan.inode);
    bool fresh = record && record->linkable && record->madeBy == session;
    if (listed && !fresh && !table_.holds(session, orphan.inode)) {
      dropFromState(session, orphan.inode);
    }
  }
}

void Sessions::drop(SessionId session, InodeId inode) {
  if (table_.drop(session, inode) && replica_.reader().isOrphan(inode)) {
    dropFromState(session, inode);
  }
}

void Sessions::onApplied(wire::Command::Reader command, const Applied& applied) {
  for (SessionId session : applied.changes.ended) {
    spdlog::info("session {} has ended", raw(session));
    table_.end(session);
    leases_.ended(session);
    ending_.erase(session);
    drops_.erase(session);
  }
  if (applied.changes.orphaned.empty() || !command.isClient()) {
    return;
  }
  // Holders may have let go, or turned out to hold nothing, since the command was made.
  for (InodeId inode : applied.changes.orphaned) {
    for (auto holder : command.getClient().getHolders()) {
      if (InodeId{holder.getInode()} != inode) {
        continue;
      }
      for (uint64_t session : holder.getSessions()) {
        if (!table_.holds(SessionId{session}, inode)) {
          dropFromState(SessionId{session}, inode);
        }
      }
    }
  }
}

void Sessions::dropFromState(SessionId session, InodeId inode) {
  drops_[session].push_back(inode);
  if (!flushing_) {
    flushing_ = true;
    tasks_.add(kj::evalLast([this]() -> kj::Promise<void> { return flushDrops(); }));
  }
}

Task<void> Sessions::flushDrops() {
  KJ_DEFER(flushing_ = false);
  while (!drops_.empty()) {
    auto first = drops_.begin();
    SessionId session = first->first;
    auto inodes = std::move(first->second);
    drops_.erase(first);
    if (inodes.size() > DROPS_AT_ONCE_MAX) {
      drops_[session].assign(inodes.begin() + DROPS_AT_ONCE_MAX, inodes.end());
      inodes.resize(DROPS_AT_ONCE_MAX);
    }
    auto fill = [&](wire::Command::Builder command) {
      auto out = command.initDropHolds();
      out.setSession(raw(session));
      auto list = out.initInodes(inodes.size());
      for (uint32_t i = 0; i < inodes.size(); ++i) {
        list.set(i, raw(inodes[i]));
      }
    };
    auto applied = co_await propose(replica_, fill);
    Status outcome = outcomeOf(applied);
    if (!outcome.ok()) {
      spdlog::warn("orphans of session {} stay until it ends: {}", raw(session), outcome.error().why);
    }
  }
}

void Sessions::mapChanged() {
  fencedList_.update(replica_.reader().map(), clock_.monotonic());
}

void Sessions::tick() {
  Nanos now = clock_.monotonic();
  for (SessionId session : table_.passTime(now)) {
    evict(session, "its lease has run out");
  }
  if (leases_.waitsForDrain()) {
    leases_.drained(drainedEverywhere(replica_.reader().map(), chunkservers_.fencesDrained()));
  }
  if (now - fencesLooked_ >= FENCE_LOOK && !unfencing_) {
    fencesLooked_ = now;
    unfencing_ = true;
    tasks_.add(unfence().promise());
  }
}

void Sessions::evict(SessionId session, const std::string& why) {
  if (!ending_.contains(session)) {
    spdlog::warn("session {}: {}; it is evicted", raw(session), why);
    tasks_.add(endExpired(session).promise());
  }
}

Task<void> Sessions::endExpired(SessionId session) {
  auto ended = co_await end(session);
  if (!ended.ok()) {
    spdlog::warn("session {} can't be ended yet: {}", raw(session), ended.error().why);
    table_.renew(session, clock_.monotonic());
  }
}

Task<void> Sessions::unfence() {
  KJ_DEFER(unfencing_ = false);
  auto sessions = fencedList_.removable(replica_.reader().map(), chunkservers_.fencesDrained(), clock_.monotonic());
  if (sessions.empty()) {
    co_return;
  }
  auto fill = [&](wire::Command::Builder command) {
    auto list = command.initUnfence(sessions.size());
    for (uint32_t i = 0; i < sessions.size(); ++i) {
      list.set(i, raw(sessions[i]));
    }
  };
  auto applied = co_await propose(replica_, fill);
  Status outcome = outcomeOf(applied);
  if (!outcome.ok()) {
    spdlog::warn("the fenced list can't be shortened: {}", outcome.error().why);
  }
}

}  // namespace cairn
