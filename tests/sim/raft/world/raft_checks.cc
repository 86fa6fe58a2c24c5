#include "tests/sim/raft/world/raft_checks.h"

#include <kj/debug.h>

#include <algorithm>

#include "common/checksum.h"

namespace cairn::raft {

namespace {

constexpr uint64_t STEPS_PER_PRUNE = 20000;
constexpr uint64_t KEPT = 20000;  // applied states, for members that are far behind

}  // namespace

void RaftChecks::onApplied(MemberId member, const Entry& entry, const RaftState& after) {
  if (after.index > committed()) {
    KJ_ASSERT(after.index == next(committed()), "applied with a gap", raw(member), raw(after.index));
    const auto& raft = members_.at(member)->raft();
    if (raft.isLeader()) {
      checkMajority(raft, entry);
    }
    states_.push_back(after);
    terms_.push_back(entry.term);
    commitTerms_.push_back(std::max(commitTerms_.back(), raft.term()));
  } else if (after.index >= first_) {
    KJ_ASSERT(states_[raw(after.index) - raw(first_)] == after, "two members applied different entries", raw(member),
              raw(after.index));
  }
}

// Who commits an entry has counted a majority of disks, whatever became of them since.
void RaftChecks::checkMajority(const Raft& leader, const Entry& entry) const {
  auto holds = [&](MemberId id) {
    auto found = members_.find(id);
    return found == members_.end() || found->second->disk().everHeld({entry.term, entry.index});
  };
  KJ_ASSERT(leader.membership().majorityOf(holds), "applied what no majority has on its disks", raw(entry.index));
}

void RaftChecks::onInstalled(MemberId member, const RaftSnapshot& snapshot) {
  LogIndex index = snapshot.state.index;
  KJ_ASSERT(index == snapshot.last.index && index <= committed(), "a snapshot of what isn't committed", raw(member));
  if (index >= first_) {
    KJ_ASSERT(states_[raw(index) - raw(first_)] == snapshot.state, "a snapshot of another state", raw(member));
  }
}

void RaftChecks::onRead(MemberId member, const ReadReady& ready, const RaftState& state) {
  auto asked = asked_.extract(ready.id);
  KJ_ASSERT(!asked.empty(), "a read is answered twice, or was never asked", raw(member), ready.id.counter);
  KJ_ASSERT(state.index >= asked.mapped(), "a stale read", raw(member), raw(state.index), raw(asked.mapped()));
  reads_++;
}

void RaftChecks::onLeaseRead(MemberId member, LogIndex acknowledged, LogIndex read) {
  KJ_ASSERT(read >= acknowledged, "a stale read under a lease", raw(member), raw(read), raw(acknowledged));
  reads_++;
}

void RaftChecks::onReadFailed(MemberId, const ReadId& id) {
  KJ_ASSERT(asked_.erase(id) == 1, "a read fails that nobody asked");
}

void RaftChecks::onSend(const Message& message) {
  const auto& disk = members_.at(message.from)->disk();
  if (const auto* vote = std::get_if<VoteResponse>(&message.body); vote != nullptr && vote->granted) {
    auto [given, isNew] = votes_.try_emplace({message.term, message.from}, message.to);
    KJ_ASSERT(isNew || given->second == message.to, "a member votes twice", raw(message.from), raw(message.term));
    KJ_ASSERT(disk.hard().term >= message.term, "a vote leaves before it is durable");
  } else if (message.is<VoteRequest>()) {
    auto [given, isNew] = votes_.try_emplace({message.term, message.from}, message.from);
    KJ_ASSERT(given->second == message.from, "a candidate has voted for another", raw(message.from));
    KJ_ASSERT(disk.hard().term >= message.term, "a vote of one's own counts before it is durable");
  } else if (const auto* append = std::get_if<AppendResponse>(&message.body); append != nullptr && append->accepted) {
    KJ_ASSERT(disk.everReached(append->match), "entries are acknowledged before they are durable", raw(message.from));
  }
}

void RaftChecks::look(RaftMember& member) {
  lookAtLeader(member);
  lookAtLog(member);
  if (++steps_ % STEPS_PER_PRUNE == 0) {
    prune();
  }
}

void RaftChecks::lookAtLeader(RaftMember& member) {
  const auto& raft = member.raft();
  if (!raft.isLeader()) {
    offices_.erase(member.id());
    return;
  }
  auto [leader, isNew] = leaders_.try_emplace(raft.term(), member.id());
  KJ_ASSERT(leader->second == member.id(), "two leaders in a term", raw(raft.term()), raw(member.id()));
  auto& office = offices_[member.id()];
  if (office.term != raft.term()) {
    KJ_ASSERT(isNew, "a member leads the same term twice", raw(member.id()), raw(raft.term()));
    checkCompleteness(raft);
  } else if (office.last.index >= raft.log().base().index) {
    KJ_ASSERT(raft.log().matches(office.last), "a leader took entries away", raw(member.id()));
  }
  office = {raft.term(), raft.log().lastPosition()};
}

// An old term's leader may win late: its votes were long on the way. Of what later leaders committed it knows nothing,
// and it will never commit anything.
void RaftChecks::checkCompleteness(const Raft& leader) const {
  auto later = std::lower_bound(commitTerms_.begin(), commitTerms_.end(), leader.term());
  auto count = static_cast<uint64_t>(later - commitTerms_.begin());
  if (count == 0) {
    return;
  }
  LogIndex index{raw(first_) + count - 1};
  bool has = index <= leader.log().last();
  if (has && index >= leader.log().base().index) {
    has = leader.log().term(index) == terms_[count - 1];
  }
  KJ_ASSERT(has, "a leader lacks what is committed", raw(leader.self()), raw(leader.term()), raw(index));
}

// What is new in this log since it was last looked at.
void RaftChecks::lookAtLog(RaftMember& member) {
  const auto& log = member.raft().log();
  auto& seen = seen_[member.id()];
  if (log.lastPosition() == seen) {
    return;
  }
  LogIndex from = std::max(log.firstInMemory(), log.base().index);
  if (log.matches(seen)) {
    from = std::max(from, next(seen.index));
  }
  for (LogIndex at = from; at <= log.last(); at = next(at)) {
    const auto& entry = log.entry(at);
    Known known{entry.term, *log.term(before(at)), hash64(entry.payload.bytes(), static_cast<uint64_t>(entry.type))};
    bool found = false;
    for (const auto& other : entries_[at]) {
      found = found || other.term == known.term;
      KJ_ASSERT(other.term != known.term || (other.hash == known.hash && other.previousTerm == known.previousTerm),
                "two logs with the same index and term differ", raw(member.id()), raw(at), raw(known.term));
    }
    if (!found) {
      entries_[at].push_back(known);
    }
  }
  seen = log.lastPosition();
}

void RaftChecks::prune() {
  LogIndex oldest = committed();
  for (const auto& [id, member] : members_) {
    oldest = std::min(oldest, member->disk().base());
  }
  entries_.erase(entries_.begin(), entries_.lower_bound(oldest));
  while (states_.size() > KEPT) {
    states_.pop_front();
    terms_.pop_front();
    commitTerms_.pop_front();
    first_ = next(first_);
  }
  if (leaders_.size() > KEPT) {
    leaders_.erase(leaders_.begin());
  }
}

}  // namespace cairn::raft
