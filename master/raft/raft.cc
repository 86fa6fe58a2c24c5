#include "master/raft/raft.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn::raft {

namespace {

constexpr unsigned REST_FACTOR = 5;

bool isLeaders(const Message& message) {
  return message.is<AppendRequest>() || message.is<Heartbeat>() || message.is<InstallSnapshot>();
}

// Whether a message promises something that must be durable first: a vote, or entries.
bool isPromise(const Body& body) {
  if (const auto* append = std::get_if<AppendResponse>(&body)) {
    return append->accepted;
  }
  if (const auto* vote = std::get_if<VoteResponse>(&body)) {
    return vote->granted;
  }
  return std::holds_alternative<VoteRequest>(body);
}

// A leader's term was durable before it won, so what it sends waits for nothing.
bool isFree(const Body& body) {
  return std::holds_alternative<AppendRequest>(body) || std::holds_alternative<Heartbeat>(body) ||
         std::holds_alternative<TimeoutNow>(body);
}

}  // namespace

const char* kindName(const Message& message) {
  constexpr const char* NAMES[] = {"VoteRequest",     "VoteResponse",   "PreVoteRequest", "PreVoteResponse",
                                   "AppendRequest",   "AppendResponse", "Heartbeat",      "HeartbeatResponse",
                                   "InstallSnapshot", "TimeoutNow",     "StaleTerm"};
  return NAMES[message.body.index()];
}

Raft::Raft(RaftOptions options, Random& random, Restart restart, Nanos now)
    : options_(std::move(options)), random_(random), hard_(restart.hard), snapshot_(restart.snapshot), now_(now) {
  KJ_REQUIRE(options_.self != NOBODY && options_.electionTicks > options_.heartbeatTicks + RESIGNS_EARLIER_TICKS);
  KJ_REQUIRE(restart.base.index <= restart.applied && restart.applied <= restart.last);
  KJ_REQUIRE(restart.base.index <= restart.snapshot && restart.snapshot <= restart.applied);
  log_.reset(restart.base, std::move(restart.membership));
  std::erase_if(restart.runs, [&](const TermRun& run) { return run.first > restart.applied; });
  std::erase_if(restart.memberships, [&](const LogView::MembershipAt& at) { return at.index > restart.applied; });
  log_.restore(restart.runs, restart.applied, std::move(restart.memberships));
  for (auto& entry : restart.tail) {
    log_.append(std::move(entry));
  }
  KJ_REQUIRE(log_.last() == restart.last, "the tail must reach from `applied` to `last`", raw(log_.last()));
  KJ_REQUIRE(log_.lastTerm() <= hard_.term, "the log is ahead of the term", raw(log_.lastTerm()), raw(hard_.term));
  commit_ = handedOut_ = restart.applied;
  durable_ = issued_ = restart.last;
  durableHard_ = issuedHard_ = hard_;
  damage_ = restart.damage;
  checkDamage();
  resetTimers();
  forgottenUntil_ = needsNoLease() ? 0 : now + options_.promise;
}

void Raft::step(Message message) {
  if (message.to != options_.self || message.from == options_.self) {
    return;  // of another life of this address
  }
  if (message.term < hard_.term) {
    answerEarlierTerm(message);
  } else if (!isWithheld(message) && (message.term == hard_.term || acceptLaterTerm(message))) {
    dispatch(message);
  }
}

// False: the message is to be ignored.
bool Raft::acceptLaterTerm(const Message& message) {
  const auto* vote = std::get_if<VoteRequest>(&message.body);
  bool asks = vote != nullptr || message.is<PreVoteRequest>();
  if (asks && hearsLeader() && !(vote != nullptr && vote->transfer)) {
    reached(Rare::VOTE_SHIELDED);
    return false;
  }
  if (message.is<PreVoteRequest>()) {
    return true;
  }
  const auto* answer = std::get_if<PreVoteResponse>(&message.body);
  if (answer != nullptr && answer->granted) {
    return true;
  }
  if (isLeader()) {
    reached(Rare::LEADER_DEPOSED);
  }
  becomeFollower(message.term, isLeaders(message) ? message.from : NOBODY);
  return true;
}

void Raft::answerEarlierTerm(const Message& message) {
  if (isLeaders(message)) {
    reached(Rare::STALE_LEADER_TOLD);
    send(message.from, StaleTerm{});
  } else if (message.is<PreVoteRequest>()) {
    reached(Rare::PREVOTE_REFUSED_OLD_TERM);
    send(message.from, PreVoteResponse{false});
  }
}

void Raft::dispatch(Message& message) {
  if (const auto* voteRequest = std::get_if<VoteRequest>(&message.body)) {
    onVoteRequest(message, *voteRequest);
  } else if (const auto* voteResponse = std::get_if<VoteResponse>(&message.body)) {
    onVoteResponse(message, *voteResponse);
  } else if (const auto* preVoteRequest = std::get_if<PreVoteRequest>(&message.body)) {
    onPreVoteRequest(message, *preVoteRequest);
  } else if (const auto* preVoteResponse = std::get_if<PreVoteResponse>(&message.body)) {
    onPreVoteResponse(message, *preVoteResponse);
  } else if (auto* append = std::get_if<AppendRequest>(&message.body)) {
    onAppend(message, *append);
  } else if (const auto* appendResponse = std::get_if<AppendResponse>(&message.body)) {
    onAppendResponse(message, *appendResponse);
  } else if (const auto* heartbeat = std::get_if<Heartbeat>(&message.body)) {
    onHeartbeat(message, *heartbeat);
  } else if (const auto* heartbeatResponse = std::get_if<HeartbeatResponse>(&message.body)) {
    onHeartbeatResponse(message, *heartbeatResponse);
  } else if (const auto* snapshot = std::get_if<InstallSnapshot>(&message.body)) {
    onSnapshot(message, *snapshot);
  } else if (const auto* order = std::get_if<TimeoutNow>(&message.body)) {
    onTimeoutNow(*order);
  }
}

void Raft::tick() {
  restLeft_ -= std::min(restLeft_, 1u);
  if (isLeader()) {
    tickLeader();
  } else if (electionElapsed_ >= options_.electionTicks && withholdsVote({})) {
    reached(Rare::STANDING_WITHHELD);  // one's own vote is promised as well
  } else if (++electionElapsed_ >= electionTimeout_) {
    electionElapsed_ = 0;
    ++leaderless_;
    leader_ =
        NOBODY;  // of a learner too: it may be a voter by now without knowing it, and must not shield a lost leader
    hup(Election::PRE_VOTE);
  } else if (role_ == Role::PRE_CANDIDATE && !membership().isLearner(options_.self)) {
    askForVotes(next(hard_.term), PreVoteRequest{log_.lastPosition()});  // who said nothing may be free to by now
  }
}

Output Raft::ready() {
  if (isLeader()) {
    startReads();
    sendAppends();
  }
  Output output = std::move(output_);
  output_ = Output();
  collectMessages(output);
  collectPersist(output);
  collectApply(output);
  return output;
}

void Raft::becomeFollower(Term term, MemberId leader) {
  if (term > hard_.term) {
    hard_ = {term, NOBODY};
    leaderMatch_ = LogIndex{};
  }
  role_ = Role::FOLLOWER;
  leader_ = leader;
  votes_.clear();
  progress_.clear();
  transferTo_ = NOBODY;
  uncommittedBytes_ = 0;
  dropLease();
  failReads();
  resetTimers();
}

void Raft::resetTimers() {
  electionElapsed_ = 0;
  electionTimeout_ = options_.electionTicks + static_cast<unsigned>(random_.below(options_.electionTicks));
  electionTimeout_ *= restLeft_ > 0 ? REST_FACTOR : 1;
}

bool Raft::hearsLeader() const {
  return leader_ != NOBODY && electionElapsed_ < options_.electionTicks;
}

void Raft::send(MemberId to, Body body) {
  sendWithTerm(to, hard_.term, std::move(body));
}

void Raft::sendWithTerm(MemberId to, Term term, Body body) {
  auto& queue = isFree(body) ? output_.messages : isPromise(body) ? afterAll_ : afterHard_;
  queue.push_back({options_.self, to, term, std::move(body)});
}

void Raft::commitTo(LogIndex index) {
  if (index > commit_) {
    KJ_ASSERT(index <= log_.last(), "committed entries are missing", raw(index), raw(log_.last()));
    commit_ = index;
  }
}

void Raft::reached(Rare state) const {
  if (options_.rare != nullptr) {
    options_.rare->add(state);
  }
}

}  // namespace cairn::raft
