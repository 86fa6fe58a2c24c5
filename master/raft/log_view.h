// LogView: the log as the core sees it. The term of every entry after `base`, the newest entries themselves, and the
// memberships among them. Older entries lie only on the disk.
#pragma once
#include <deque>
#include <optional>
#include <vector>

#include "master/raft/entry.h"
#include "master/raft/membership.h"

namespace cairn::raft {

class LogView {
 public:
  struct MembershipAt {
    LogIndex index{};
    Membership membership;
  };

  // Before the first entry there is `base`, whose entry is gone but whose term is known.
  void reset(Position base, Membership membership);
  // At a restart: the log reaches from `base` to `last`, of which only the entries given to append() come to memory.
  void restore(const std::vector<TermRun>& runs, LogIndex last, std::vector<MembershipAt> memberships);

  Position base() const { return base_; }
  LogIndex last() const { return last_; }
  Position lastPosition() const { return {lastTerm(), last_}; }
  Term lastTerm() const { return runs_.empty() ? base_.term : runs_.back().term; }
  // Nothing before base() and after last().
  std::optional<Term> term(LogIndex index) const;
  bool matches(Position position) const { return term(position.index) == position.term; }
  // The last position at or before `index` whose term isn't beyond `term`; before base() terms are unknown, and 0.
  Position lastWithTermUpTo(Term term, LogIndex index) const;

  // REQUIRES: the entry follows on last().
  void append(Entry entry);
  // Entries from `from` on go away. REQUIRES: from > base().
  void truncate(LogIndex from);
  // Entries up to `upTo` go away. REQUIRES: base() <= upTo <= last().
  void compact(LogIndex upTo);

  // ---- entries in memory ----
  LogIndex firstInMemory() const { return firstInMemory_; }  // last() + 1 when there are none
  const Entry& entry(LogIndex index) const { return entries_[raw(index) - raw(firstInMemory_)]; }
  // From `from` on, as many as fit both limits, but at least one if there is one.
  std::vector<Entry> entries(LogIndex from, size_t countMax, size_t bytesMax) const;
  // Drops the oldest entries, none after `upTo`, until those in memory are within the limit.
  void forget(LogIndex upTo, size_t bytesMax);
  size_t bytesInMemory() const { return bytes_; }

  // ---- memberships ----
  const MembershipAt& newest() const { return memberships_.back(); }
  // In force when `index` was the last entry. REQUIRES: index >= base().
  const Membership& membershipAt(LogIndex index) const;

 private:
  Position base_;
  LogIndex last_{};
  std::vector<TermRun> runs_;
  std::deque<Entry> entries_;
  LogIndex firstInMemory_{1};
  size_t bytes_ = 0;
  std::deque<MembershipAt> memberships_;  // never empty; the first is that of base_
};

}  // namespace cairn::raft
