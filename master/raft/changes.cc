// Changes of office and of membership: one member at a time, learners before voters, leadership handed over.
#include <algorithm>

#include "master/raft/raft.h"

namespace cairn::raft {

// A change is in force once it is in the log. So the next must wait until this one is committed; and the first of a
// term until an entry of that term is, or two leaders in turn could each make a change that the other's majorities
// don't see (the mistake in the thesis that was found in 2015).
Proposed Raft::proposeMembership(const Membership& proposed) {
  if (!isLeader()) {
    return {Refusal::NOT_LEADER, {}};
  }
  if (transferTo_ != NOBODY) {
    return {Refusal::TRANSFERRING, {}};
  }
  if (!committedInTerm()) {
    reached(Rare::CHANGE_REFUSED_NEW_TERM);
    return {Refusal::TERM_NOT_COMMITTED, {}};
  }
  if (!membershipCommitted()) {
    reached(Rare::CHANGE_REFUSED_PENDING);
    return {Refusal::CHANGE_PENDING, {}};
  }
  if (!membership().objectionTo(proposed).empty()) {
    return {Refusal::NOT_ALLOWED, {}};
  }
  for (const auto& member : proposed.members()) {
    if (!member.voter || !membership().isLearner(member.id)) {
      continue;
    }
    if (raw(matchOf(member.id)) + options_.promotionLagMax < raw(log_.last())) {
      reached(Rare::PROMOTION_REFUSED_BEHIND);
      return {Refusal::BEHIND, {}};
    }
    reached(Rare::LEARNER_PROMOTED);
  }
  auto result = appendOwn(EntryType::MEMBERSHIP, proposed.encode());
  adoptMembership(result.at.index);
  return result;
}

// The leader keeps a Progress of everybody else in the newest membership; a new one begins with entry `first`.
void Raft::adoptMembership(LogIndex first) {
  dropLease();  // two changes from now a majority might have no part in it
  std::erase_if(progress_, [this](const auto& known) { return !membership().contains(known.first); });
  for (const auto& member : membership().members()) {
    if (member.id != options_.self) {
      progress_.try_emplace(member.id, first, options_.flight);
    }
  }
  if (transferTo_ != NOBODY && !membership().isVoter(transferTo_)) {
    transferTo_ = NOBODY;
  }
}

// A leader that committed its own removal leads no longer, nor does a learner that committed what the voters lacked. It
// asks the member that has most to go on at once.
void Raft::leaveOffice() {
  reached(membership().contains(options_.self) ? Rare::LEARNER_GAVE_WAY : Rare::LEADER_REMOVED);
  sendTimeoutNow(heir());
  becomeFollower(hard_.term, NOBODY);
}

// Of those who have as much the one heard of last: another may be gone.
MemberId Raft::heir() const {
  MemberId heir = NOBODY;
  for (const auto& [member, progress] : progress_) {
    if (!membership().isVoter(member)) {
      continue;
    }
    bool farther = heir == NOBODY || progress.match() > matchOf(heir);
    bool livelier = !farther && progress.match() == matchOf(heir) &&
                    progress.silentTicks < progress_.at(heir).silentTicks;
    if (farther || livelier) {
      heir = member;
    }
  }
  return heir;
}

Refusal Raft::transfer(MemberId to) {
  if (!isLeader()) {
    return Refusal::NOT_LEADER;
  }
  if (to == options_.self || !membership().isVoter(to)) {
    return Refusal::NOT_ALLOWED;
  }
  if (transferTo_ != NOBODY) {
    return transferTo_ == to ? Refusal::NONE : Refusal::TRANSFERRING;
  }
  transferTo_ = to;
  transferElapsed_ = 0;
  dropLease();
  if (matchOf(to) == log_.last()) {
    sendTimeoutNow(to);
  }
  return Refusal::NONE;
}

// From now on nothing counts that was promised before.
void Raft::sendTimeoutNow(MemberId to) {
  dropLease();
  send(to, TimeoutNow{round_});
}

// What the others have committed is answered only when it is durable here too, so a leader whose disk stands still
// holds up everybody, and nobody deposes it: its heartbeats wait for no disk. Afterwards it stands later than the
// others for a while, but it does stand: it may be the only one left.
void Raft::tickStall() {
  bool waits = !inFlight_.empty() && inFlight_.front().last > durable_ && inFlight_.front().last <= commit_;
  bool isSame = waits && inFlight_.front().id == stalledWrite_;
  stalledTicks_ = isSame ? stalledTicks_ + 1 : 0;
  stalledWrite_ = waits ? inFlight_.front().id : PersistId{};
  MemberId to = stalledTicks_ >= options_.stallTicks && transferTo_ == NOBODY ? heir() : NOBODY;
  if (to != NOBODY && transfer(to) == Refusal::NONE) {
    reached(Rare::OWN_DISK_STALLED);
    restLeft_ = options_.restTicks;
  }
}

void Raft::tickTransfer() {
  if (transferTo_ != NOBODY && ++transferElapsed_ >= options_.electionTicks) {
    reached(Rare::TRANSFER_TIMED_OUT);
    transferTo_ = NOBODY;
  }
}

}  // namespace cairn::raft
