// Elections: pre-votes, votes, and who may have one's own.
#include <kj/debug.h>

#include "master/raft/raft.h"

namespace cairn::raft {

namespace {

constexpr unsigned LEARNER_STANDS_AFTER = 20;  // election timeouts without a leader

}  // namespace

void Raft::campaign() {
  if (!isLeader() && withholdsVote({})) {  // at the first tick after that
    electionElapsed_ = options_.electionTicks;
    electionTimeout_ = electionElapsed_ + 1;
  } else {
    hup(Election::PRE_VOTE);
  }
}

// Who isn't a voter may be the only one that can win, for it can have more than each of them: a member whose removal is
// in its log (thesis, section 4.2.2); a learner that was sent what voters lost or never got, when two of them refuse
// each other and damage makes the third withhold its vote. Votes and commits are the voters' alone, so it is as safe.
bool Raft::mayStand() const {
  bool wasVoter = !membershipCommitted() && log_.membershipAt(commit_).isVoter(options_.self);
  bool isLastHope = membership().isLearner(options_.self) && leaderless_ >= LEARNER_STANDS_AFTER;
  return membership().isVoter(options_.self) || wasVoter || isLastHope;
}

// The election timeout of the paper's figure 4, or a leader's word.
void Raft::hup(Election election) {
  if (isLeader() || !mayStand()) {
    return;
  }
  if (!upToDate(log_.lastPosition())) {
    reached(Rare::DAMAGE_KEPT_FROM_OFFICE);
    resetTimers();
    return;
  }
  if (role_ == Role::CANDIDATE) {
    reached(Rare::ELECTION_REPEATED);
  }
  begin(election);
}

void Raft::begin(Election election) {
  leader_ = NOBODY;
  votes_.clear();
  asked_ = election == Election::TRANSFER;
  resetTimers();
  if (election == Election::PRE_VOTE) {
    role_ = Role::PRE_CANDIDATE;
    votes_[options_.self] = true;
    askForVotes(next(hard_.term), PreVoteRequest{log_.lastPosition()});
    countVotes();
  } else {
    role_ = Role::CANDIDATE;
    hard_ = {next(hard_.term), options_.self};
    leaderMatch_ = LogIndex{};
    // Its own vote counts once durable: persisted().
    askForVotes(hard_.term, VoteRequest{log_.lastPosition(), asked_, released_});
  }
}

void Raft::askForVotes(Term term, Body request) {
  for (const auto& member : membership().members()) {
    if (member.voter && !votes_.contains(member.id) && member.id != options_.self) {
      sendWithTerm(member.id, term, request);
    }
  }
}

void Raft::countVotes() {
  auto granted = [this](MemberId id) { return votes_.contains(id) && votes_.at(id); };
  auto open = [this](MemberId id) { return !votes_.contains(id) || votes_.at(id); };
  if (granted(options_.self) && membership().majorityOf(granted)) {
    if (role_ == Role::PRE_CANDIDATE) {
      begin(Election::VOTE);
    } else {
      becomeLeader();
    }
  } else if (!membership().majorityOf(open)) {
    becomeFollower(hard_.term, NOBODY);
  }
}

void Raft::becomeLeader() {
  KJ_ASSERT(durableHard_ == hard_, "won an election with a vote of one's own that isn't durable");
  if (asked_) {
    reached(Rare::TRANSFER_SUCCEEDED);
  }
  role_ = Role::LEADER;
  leaderless_ = 0;
  leader_ = options_.self;
  votes_.clear();
  progress_.clear();
  transferTo_ = NOBODY;
  uncommittedBytes_ = 0;
  round_ = 0;
  promisedUntil_ = 0;  // to a leader whose office has ended, or it couldn't have been elected
  heartbeatElapsed_ = 0;
  electionElapsed_ = 0;
  adoptMembership(next(log_.last()));
  appendOwn(EntryType::TERM_START, options_.termStart);
}

bool Raft::mayVoteFor(MemberId candidate, Term term) const {
  return term > hard_.term || hard_.votedFor == candidate || (hard_.votedFor == NOBODY && leader_ == NOBODY);
}

// Judged by what this member once had, if damage took some of it: an entry that was committed with its help must not be
// outvoted with its help.
bool Raft::upToDate(Position candidate) const {
  if (candidate < log_.lastPosition()) {
    return false;
  }
  if (damage_ && candidate < damage_->last) {
    reached(Rare::DAMAGE_WITHHELD_VOTE);
    return false;
  }
  return true;
}

void Raft::onVoteRequest(const Message& message, const VoteRequest& request) {
  bool free = mayVoteFor(message.from, message.term);
  bool granted = free && upToDate(request.last);
  if (granted) {
    hard_.votedFor = message.from;
    resetTimers();
  } else {
    reached(free ? Rare::VOTE_REFUSED_OLD_LOG : Rare::VOTE_REFUSED_GIVEN);
  }
  send(message.from, VoteResponse{granted});
}

// Of two that ask at the same time and could both win one yields, or they would split the votes.
void Raft::onPreVoteRequest(const Message& message, const PreVoteRequest& request) {
  if (role_ == Role::PRE_CANDIDATE && request.last == log_.lastPosition() && message.from > options_.self) {
    reached(Rare::PREVOTE_IN_ORDER);
    return;
  }
  bool granted = mayVoteFor(message.from, message.term) && upToDate(request.last);
  sendWithTerm(message.from, granted ? message.term : hard_.term, PreVoteResponse{granted});
}

void Raft::onVoteResponse(const Message& message, const VoteResponse& response) {
  if (role_ == Role::CANDIDATE) {
    votes_[message.from] = response.granted;
    countVotes();
  }
}

void Raft::onPreVoteResponse(const Message& message, const PreVoteResponse& response) {
  bool answersThis = !response.granted || message.term == next(hard_.term);
  if (role_ == Role::PRE_CANDIDATE && answersThis) {
    votes_[message.from] = response.granted;
    countVotes();
  }
}

}  // namespace cairn::raft
