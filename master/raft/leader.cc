// What a leader does: takes proposals, sends entries, counts who has them, commits.
#include <kj/debug.h>

#include <algorithm>

#include "master/raft/raft.h"

namespace cairn::raft {

namespace {

constexpr unsigned LINK_LOST_TICKS = 3;  // within which a follower stands that lost its connection to the leader

}  // namespace

Proposed Raft::propose(Payload command) {
  if (!isLeader()) {
    return {Refusal::NOT_LEADER, {}};
  }
  if (transferTo_ != NOBODY) {
    reached(Rare::TRANSFER_HELD_PROPOSAL);
    return {Refusal::TRANSFERRING, {}};
  }
  if (uncommittedBytes_ > 0 && uncommittedBytes_ + command.size() > options_.uncommittedBytesMax) {
    reached(Rare::PROPOSAL_LIMITED);
    return {Refusal::TOO_MUCH, {}};
  }
  uncommittedBytes_ += command.size();
  return appendOwn(EntryType::COMMAND, std::move(command));
}

Proposed Raft::appendOwn(EntryType type, Payload payload) {
  Position at{hard_.term, next(log_.last())};
  log_.append({at.term, at.index, type, std::move(payload)});
  return {Refusal::NONE, at};
}

LogIndex Raft::matchOf(MemberId member) const {
  if (member == options_.self) {
    return durable_;
  }
  auto found = progress_.find(member);
  return found == progress_.end() ? LogIndex{} : found->second.match();
}

// Only an entry of the leader's own term is committed by counting: an older one on a majority may still be replaced
// (figure 8 of the paper). It is committed by what follows it.
void Raft::advanceCommit() {
  auto match = [this](MemberId id) { return raw(matchOf(id)); };
  LogIndex onMajority{membership().reachedByMajority(match)};
  if (onMajority <= commit_) {
    return;
  }
  if (log_.term(onMajority) != hard_.term) {
    reached(Rare::OLD_TERM_HELD_BACK);
    return;
  }
  if (onMajority > durable_) {
    reached(Rare::COMMIT_BEFORE_OWN_DISK);
  }
  commitTo(onMajority);
  if (membershipCommitted() && !membership().isVoter(options_.self)) {
    leaveOffice();
  }
}

void Raft::onAppendResponse(const Message& message, const AppendResponse& response) {
  auto found = progress_.find(message.from);
  if (!isLeader() || found == progress_.end()) {
    return;
  }
  auto& progress = found->second;
  progress.heard();
  if (!response.accepted) {
    LogIndex agreed = log_.lastWithTermUpTo(response.hint.term, response.hint.index).index;
    if (response.lost && progress.match() > agreed) {
      progress.lost(agreed);
    } else if (!progress.refused(response.refused, agreed)) {
      reached(Rare::REFUSAL_OUTDATED);
    } else if (raw(agreed) + 1 < raw(response.refused)) {
      reached(Rare::ENTRIES_SKIPPED);
    }
    return;
  }
  KJ_ASSERT(response.match <= log_.last(), "a follower acknowledges more than there is", raw(response.match));
  if (progress.accepted(response.match)) {
    advanceCommit();
  }
  if (transferTo_ == message.from && response.match == log_.last()) {
    sendTimeoutNow(message.from);
  }
}

void Raft::onHeartbeatResponse(const Message& message, const HeartbeatResponse& response) {
  auto found = progress_.find(message.from);
  if (!isLeader() || found == progress_.end()) {
    return;
  }
  auto& progress = found->second;
  progress.heard();
  progress.answered(log_.matches(response.last) ? response.last.index : LogIndex{});
  if (response.round > progress.readRound) {
    progress.readRound = response.round;
    confirmReads();
  }
  if (response.lost && progress.match() > response.last.index) {
    reached(Rare::LOST_ENTRIES_REFETCHED);
    progress.lost(response.last.index);
  }
  // All was sent and not all has been acknowledged: perhaps it was lost, and nothing would show it.
  if (progress.next() > log_.last() && progress.match() < log_.last()) {
    sendAppend(message.from, progress, true);
  }
}

void Raft::sendAppends() {
  for (auto& [member, progress] : progress_) {
    bool more = true;
    while (more) {
      more = sendAppend(member, progress, false);
    }
  }
}

// True when there may be more to send.
bool Raft::sendAppend(MemberId to, Progress& progress, bool evenEmpty) {
  if (progress.next() > log_.last() && !evenEmpty) {
    return false;
  }
  if (!progress.maySend()) {
    if (progress.state() == Progress::State::REPLICATE) {
      reached(Rare::FLOW_LIMITED);
    }
    return false;
  }
  LogIndex previous = before(progress.next());
  auto term = log_.term(previous);
  if (!term) {
    sendSnapshot(to, progress);
    return false;
  }
  AppendRequest request{{*term, previous}, {}, commit_};
  if (progress.next() < log_.firstInMemory() && progress.next() <= log_.last()) {
    reached(Rare::APPEND_FROM_DISK);
    LogIndex first = progress.next();
    LogIndex last = std::min(before(log_.firstInMemory()), LogIndex{raw(first) + options_.appendEntriesMax - 1});
    progress.sentFromDisk(last);
    output_.stored.push_back({{options_.self, to, hard_.term, request}, first, last, options_.appendBytesMax});
    return false;
  }
  request.entries = log_.entries(progress.next(), options_.appendEntriesMax, options_.appendBytesMax);
  size_t bytes = 0;
  for (const auto& entry : request.entries) {
    bytes += sizeOf(entry);
  }
  bool more = !request.entries.empty();
  progress.sent(LogIndex{raw(previous) + request.entries.size()}, bytes);
  send(to, std::move(request));
  return more;
}

std::optional<Message> Raft::complete(StoredAppend append, std::vector<Entry> entries) {
  bool valid = isLeader() && append.message.term == hard_.term && append.message.is<AppendRequest>();
  if (!valid) {
    reached(Rare::STORED_APPEND_VOID);
  }
  if (!valid || entries.empty() || entries.front().index != append.first) {
    return std::nullopt;
  }
  auto found = progress_.find(append.message.to);
  if (found != progress_.end()) {
    found->second.readFromDisk(entries.back().index);
  }
  std::get<AppendRequest>(append.message.body).entries = std::move(entries);
  return std::move(append.message);
}

// Only to a member that is there: making a snapshot travel is dear.
void Raft::sendSnapshot(MemberId to, Progress& progress) {
  if (!progress.active) {
    return;
  }
  reached(Rare::SNAPSHOT_SENT);
  auto term = log_.term(snapshot_);
  KJ_ASSERT(term.has_value(), "no snapshot covers what has left the log", raw(snapshot_), raw(log_.base().index));
  progress.becomeSnapshot(snapshot_);
  InstallSnapshot body{{*term, snapshot_}, log_.membershipAt(snapshot_)};
  output_.snapshots.push_back({{options_.self, to, hard_.term, std::move(body)}});
}

void Raft::snapshotSent(MemberId to, bool arrived) {
  if (!arrived) {
    reached(Rare::SNAPSHOT_FAILED);
  }
  auto found = progress_.find(to);
  if (found != progress_.end()) {
    found->second.snapshotEnded(arrived);
  }
}

void Raft::unreachable(MemberId member) {
  auto found = progress_.find(member);
  if (found != progress_.end() && found->second.state() == Progress::State::REPLICATE) {
    found->second.becomeProbe();
  }
}

// Its process has ended, perhaps. Who has lost it too needn't wait for the rest of the timeout to vote; who still hears
// of it refuses as ever, so a connection that merely broke deposes nobody.
void Raft::linkLost(MemberId member) {
  unreachable(member);
  auto found = progress_.find(member);
  if (found != progress_.end()) {
    found->second.cutOff = true;
  }
  if (!isLeader() && leader_ != NOBODY && member == leader_ && restLeft_ == 0) {
    electionElapsed_ = std::max(electionElapsed_, options_.electionTicks);
    electionTimeout_ = electionElapsed_ + 1 + static_cast<unsigned>(random_.below(LINK_LOST_TICKS));
  }
}

void Raft::sendHeartbeats() {
  heartbeatElapsed_ = 0;
  round_++;
  noteRound();
  for (const auto& [member, progress] : progress_) {
    send(member, Heartbeat{std::min(progress.match(), commit_), round_, asksForPromises()});
  }
}

void Raft::tickLeader() {
  for (auto& [member, progress] : progress_) {
    ++progress.silentTicks;
  }
  checkQuorum();
  if (isLeader()) {
    tickTransfer();
    tickStall();
    if (++heartbeatElapsed_ >= options_.heartbeatTicks) {
      sendHeartbeats();
    }
  }
}

// A leader that hears of no majority can't commit anything, and keeps those who hear of it from electing another.
void Raft::checkQuorum() {
  auto there = [this](MemberId id) {
    return id == options_.self || progress_.at(id).silentTicks + RESIGNS_EARLIER_TICKS < options_.electionTicks;
  };
  if (!membership().majorityOf(there)) {
    reached(Rare::LEADER_LOST_MAJORITY);
    sendTimeoutNow(heir());  // it may only be deaf: then the others, who hear of it, needn't wait for its silence
    becomeFollower(hard_.term, NOBODY);
    return;
  }
  if (++electionElapsed_ < options_.electionTicks) {
    return;
  }
  electionElapsed_ = 0;
  for (auto& [member, progress] : progress_) {
    progress.wasActive = progress.active;
    progress.active = false;
  }
}

}  // namespace cairn::raft
