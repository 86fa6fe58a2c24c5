// What a follower does with what its leader sends: entries, heartbeats, a snapshot.
#include <kj/debug.h>

#include <algorithm>

#include "master/raft/raft.h"

namespace cairn::raft {

void Raft::hearLeader(MemberId leader) {
  KJ_ASSERT(!isLeader(), "two leaders in one term", raw(hard_.term), raw(leader));
  if (role_ != Role::FOLLOWER) {
    reached(Rare::CANDIDATE_YIELDED);
    becomeFollower(hard_.term, leader);
  }
  leader_ = leader;
  electionElapsed_ = 0;
  leaderless_ = 0;
}

void Raft::onAppend(const Message& message, AppendRequest& request) {
  hearLeader(message.from);
  AppendResponse response;
  if (request.previous.index < commit_) {  // its leader has what is committed: the rest is as if it began there
    reached(Rare::APPEND_BEFORE_COMMIT);
    auto known = [this](const Entry& entry) { return entry.index <= commit_; };
    std::erase_if(request.entries, known);
    request.previous = {*log_.term(commit_), commit_};
  }
  if (log_.matches(request.previous)) {
    LogIndex match{raw(request.previous.index) + request.entries.size()};
    takeEntries(request.entries);
    commitTo(std::min(request.commit, match));
    leaderMatch_ = std::max(leaderMatch_, match);
    response.accepted = true;
    response.match = match;
  } else {
    response.refused = request.previous.index;
    response.hint = log_.lastWithTermUpTo(request.previous.term, std::min(request.previous.index, log_.last()));
    response.lost = damage_.has_value();
  }
  send(message.from, response);
}

// Entries that are there already stay: an old message must not take away what newer ones brought.
void Raft::takeEntries(std::vector<Entry>& entries) {
  bool anyNew = false;
  for (auto& entry : entries) {
    if (log_.term(entry.index) == entry.term) {
      continue;
    }
    if (entry.index <= log_.last()) {
      truncate(entry.index);
    }
    log_.append(std::move(entry));
    anyNew = true;
  }
  if (!anyNew && !entries.empty()) {
    reached(Rare::APPEND_REPEATED);
  }
}

void Raft::truncate(LogIndex from) {
  KJ_ASSERT(from > commit_, "a leader contradicts what is committed", raw(from), raw(commit_));
  reached(Rare::ENTRIES_TRUNCATED);
  LogIndex last = before(from);
  if (log_.newest().index > last) {
    reached(Rare::MEMBERSHIP_TRUNCATED);
  }
  if (issued_ > last) {
    if (durable_ < issued_) {
      reached(Rare::TRUNCATED_IN_FLIGHT);
    }
    truncateFrom_ = std::min(truncateFrom_.value_or(from), from);
    issued_ = last;
  }
  durable_ = std::min(durable_, last);
  for (auto& write : inFlight_) {
    write.last = std::min(write.last, last);
  }
  log_.truncate(from);
}

void Raft::onHeartbeat(const Message& message, const Heartbeat& heartbeat) {
  hearLeader(message.from);
  commitTo(std::min(heartbeat.commit, log_.last()));  // it may think that entries are here which were damaged since
  promise(message, heartbeat);
  send(message.from, HeartbeatResponse{heartbeat.round, log_.lastPosition(), damage_.has_value()});
}

void Raft::onSnapshot(const Message& message, const InstallSnapshot& snapshot) {
  hearLeader(message.from);
  AppendResponse response;
  response.accepted = true;
  if (snapshot.last.index <= commit_) {
    reached(Rare::SNAPSHOT_OUTDATED);
  } else if (log_.matches(snapshot.last)) {
    reached(Rare::SNAPSHOT_NOT_NEEDED);
    commitTo(snapshot.last.index);
  } else {
    reached(Rare::SNAPSHOT_INSTALLED);
    install(snapshot);
  }
  response.match = commit_;
  leaderMatch_ = std::max(leaderMatch_, commit_);
  send(message.from, response);
}

// Healed is who has, durably, everything up to the lost position that a leader elected by others has; or an entry of a
// later term than it knew when it was damaged, whose leader had all that was committed before.
void Raft::checkDamage() {
  if (!damage_) {
    return;
  }
  auto term = log_.term(durable_);
  bool laterTerm = term && *term > damage_->since;
  bool whole = std::min(std::max(leaderMatch_, commit_), durable_) >= damage_->last.index;
  if (laterTerm || whole) {
    reached(Rare::DAMAGE_HEALED);
    damage_ = std::nullopt;
    output_.healed = true;
  }
}

}  // namespace cairn::raft
