// RaftChecks: the promises of Raft (figure 3 of the paper) and our own, looked at after every step of every member.
// A broken one throws.
//
//   election safety        one leader a term; one vote a member and term, across crashes
//   leader append-only     a leader never takes an entry of its log away
//   log matching           an entry of an index and a term is the same everywhere, and so is the one before it
//   leader completeness    a leader has everything that was committed in earlier terms
//   state machine safety   what is applied at an index is the same everywhere; snapshots too
//   durability             what is first applied is on the disks of a majority; what is promised is on one's own
//   reads                  a read sees everything acknowledged before it was asked, under a lease too
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "tests/sim/raft/world/raft_member.h"

namespace cairn::raft {

class RaftChecks final : public RaftWatcher {
 public:
  using Members = std::map<MemberId, RaftMember*>;

  // All that ever had a part, those that are gone for good excepted.
  Members& members() { return members_; }

  void onApplied(MemberId member, const Entry& entry, const RaftState& after) override;
  void onInstalled(MemberId member, const RaftSnapshot& snapshot) override;
  void onRead(MemberId member, const ReadReady& ready, const RaftState& state) override;
  void onReadFailed(MemberId member, const ReadId& id) override;
  // A state up to `read`, under a lease; `acknowledged`: committed() when it was asked for.
  void onLeaseRead(MemberId member, LogIndex acknowledged, LogIndex read);
  void onSend(const Message& message);
  void onReadAsked(const ReadId& id) { asked_[id] = committed(); }
  // After each step of a running member.
  void look(RaftMember& member);
  void onCrash(MemberId member) { offices_.erase(member); }

  // The last entry that some member has applied.
  LogIndex committed() const { return LogIndex{raw(first_) + states_.size() - 1}; }
  const RaftState& committedState() const { return states_.back(); }
  uint64_t reads() const { return reads_; }

 private:
  struct Office {
    Term term{};
    Position last;
  };
  struct Known {
    Term term{};
    Term previousTerm{};
    uint64_t hash = 0;
  };

  void lookAtLeader(RaftMember& member);
  void lookAtLog(RaftMember& member);
  void checkCompleteness(const Raft& leader) const;
  void checkMajority(const Raft& leader, const Entry& entry) const;
  void prune();

  Members members_;
  LogIndex first_{};  // of states_
  std::deque<RaftState> states_{RaftState{}};
  std::deque<Term> terms_{Term{}};        // of the entries
  std::deque<Term> commitTerms_{Term{}};  // of the leaders that committed them, at most; they never fall
  std::map<Term, MemberId> leaders_;
  std::map<std::pair<Term, MemberId>, MemberId> votes_;
  std::map<MemberId, Office> offices_;
  std::map<LogIndex, std::vector<Known>> entries_;
  std::map<MemberId, Position> seen_;  // of each log, to look at what is new only
  std::map<ReadId, LogIndex> asked_;
  uint64_t reads_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace cairn::raft
