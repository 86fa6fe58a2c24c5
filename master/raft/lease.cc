// Reads under the leader's lease. A voter that answers a heartbeat promises to give nobody its vote for a while
// (RaftOptions::promise), whatever it hears or ceases to hear. While a majority has so promised, nobody else can be
// elected: any majority that elects has a member in common with it. So the leader may answer alone. The rules:
//
// - The lease counts from the *sending* of the heartbeat: the voter counts from its arrival, which can't be earlier.
//   From the arrival of the answer it would count time that the voter's promise has lost already.
// - It is shorter than the promise, for clocks don't run equally fast: by LEASE_PART, one may be a third faster.
// - A promise binds even who has lost its connection to the leader, and its own vote for itself like any other.
// - A voter that starts may have promised in an earlier life: it gives no vote for as long.
// - Handing over must not wait for promises. So the leader gives them back, which ends its lease, and says with the
//   order (TimeoutNow) up to which of its rounds; the votes for this election carry that number. An order that comes
//   late, after the leader went on and got new promises, has a lower number and is void.
// - A leader that isn't a voter has no lease: when it has removed itself its successor may not even know of it.
// - As for any read, an entry of this term is committed: only then the leader knows of all that was acknowledged
//   before, and of the membership that whoever is elected next can't be further than one change away from.
#include <algorithm>

#include "master/raft/raft.h"

namespace cairn::raft {

namespace {

constexpr Nanos leaseOf(Nanos promise) {
  return promise / 4 * 3;
}

}  // namespace

// ---- the voter ----

void Raft::promise(const Message& message, const Heartbeat& heartbeat) {
  if (!heartbeat.promise) {
    return;
  }
  promisedRound_ = message.term == promisedTerm_ ? std::max(promisedRound_, heartbeat.round) : heartbeat.round;
  promisedTerm_ = message.term;
  promisedUntil_ = now_ + options_.promise;
}

// A leader of a later term was elected when no earlier promise bound anybody whose vote it had.
bool Raft::withholdsVote(Released released) const {
  if (now_ < forgottenUntil_) {
    reached(Rare::VOTE_FORGOTTEN);
    return true;
  }
  if (now_ >= promisedUntil_) {
    return false;
  }
  bool isFree =
      promisedTerm_ < released.term || (promisedTerm_ == released.term && promisedRound_ <= released.round);
  if (isFree) {
    reached(Rare::PROMISE_RELEASED);
    return false;
  }
  reached(Rare::VOTE_PROMISED);
  return true;
}

bool Raft::isWithheld(const Message& message) const {
  const auto* vote = std::get_if<VoteRequest>(&message.body);
  if (vote != nullptr && vote->transfer) {
    return withholdsVote({Term{raw(message.term) - 1}, vote->released});
  }
  return (vote != nullptr || message.is<PreVoteRequest>()) && withholdsVote({});
}

void Raft::onTimeoutNow(const TimeoutNow& order) {
  if (isLeader()) {
    return;
  }
  if (withholdsVote({hard_.term, order.released})) {
    reached(Rare::TIMEOUT_NOW_OUTDATED);
    return;
  }
  released_ = order.released;
  hup(Election::TRANSFER);
}

// ---- the leader ----

// Nobody else can be elected without its own vote.
bool Raft::needsNoLease() const {
  return membership().voterCount() == 1 && membership().isVoter(options_.self);
}

bool Raft::leaseHolds(Nanos now) const {
  bool mayRead = isLeader() && transferTo_ == NOBODY && committedInTerm() && membership().isVoter(options_.self);
  return mayRead && (needsNoLease() || now < leaseEnd_);
}

bool Raft::renewLease() {
  bool isAsked = !asking_.empty() && now_ - asking_.back().sent < leaseOf(options_.promise) / 2;
  bool isYoung = leaseEnd_ - now_ > leaseOf(options_.promise) / 2;
  if (!isLeader() || !asksForPromises() || needsNoLease() || isAsked || isYoung) {
    return false;
  }
  sendHeartbeats();
  return true;
}

void Raft::noteRound() {
  if (asksForPromises() && !needsNoLease()) {
    asking_.push_back({round_, now_});
  }
}

void Raft::extendLease(uint64_t confirmed) {
  while (!asking_.empty() && asking_.front().number <= confirmed) {
    leaseEnd_ = asking_.front().sent + leaseOf(options_.promise);
    asking_.pop_front();
  }
}

void Raft::dropLease() {
  asking_.clear();
  leaseEnd_ = 0;
}

}  // namespace cairn::raft
