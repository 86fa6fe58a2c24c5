#include "master/raft/log_view.h"

#include <kj/debug.h>

#include <algorithm>

namespace cairn::raft {

void LogView::reset(Position base, Membership membership) {
  base_ = base;
  last_ = base.index;
  runs_.clear();
  entries_.clear();
  bytes_ = 0;
  firstInMemory_ = next(last_);
  memberships_.clear();
  memberships_.push_back({base.index, std::move(membership)});
}

void LogView::restore(const std::vector<TermRun>& runs, LogIndex last, std::vector<MembershipAt> memberships) {
  KJ_REQUIRE(entries_.empty() && runs_.empty());
  last_ = last;
  firstInMemory_ = next(last);
  for (size_t i = 0; i < runs.size(); i++) {
    if (i + 1 < runs.size() && runs[i + 1].first <= next(base_.index)) {
      continue;  // over before the log begins here: the disk still has entries from before the snapshot
    }
    KJ_REQUIRE(runs[i].term >= lastTerm() && runs[i].first <= last, "runs of terms must rise", raw(runs[i].term));
    runs_.push_back({runs[i].term, std::max(runs[i].first, next(base_.index))});
  }
  for (auto& change : memberships) {
    if (change.index > base_.index) {
      memberships_.push_back(std::move(change));
    }
  }
}

std::optional<Term> LogView::term(LogIndex index) const {
  if (index < base_.index || index > last_) {
    return std::nullopt;
  }
  if (index == base_.index) {
    return base_.term;
  }
  auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                [](LogIndex at, const TermRun& run) { return at < run.first; });
  return std::prev(after)->term;
}

Position LogView::lastWithTermUpTo(Term term, LogIndex index) const {
  if (index < base_.index || term < base_.term) {
    return {Term{}, std::min(index, raw(base_.index) > 0 ? before(base_.index) : base_.index)};
  }
  Position found = base_;
  for (size_t i = 0; i < runs_.size() && runs_[i].term <= term && runs_[i].first <= index; i++) {
    LogIndex end = i + 1 < runs_.size() ? before(runs_[i + 1].first) : last_;
    found = {runs_[i].term, std::min(end, index)};
  }
  return found;
}

void LogView::append(Entry entry) {
  KJ_REQUIRE(entry.index == next(last_) && entry.term >= lastTerm(), raw(entry.index), raw(last_));
  if (runs_.empty() || runs_.back().term != entry.term) {
    runs_.push_back({entry.term, entry.index});
  }
  if (entry.type == EntryType::MEMBERSHIP) {
    memberships_.push_back({entry.index, Membership::decode(entry.payload.bytes()).value()});
  }
  last_ = entry.index;
  bytes_ += sizeOf(entry);
  entries_.push_back(std::move(entry));
}

void LogView::truncate(LogIndex from) {
  KJ_REQUIRE(from > base_.index, raw(from), raw(base_.index));
  last_ = std::min(last_, before(from));
  while (!runs_.empty() && runs_.back().first > last_) {
    runs_.pop_back();
  }
  while (!entries_.empty() && entries_.back().index > last_) {
    bytes_ -= sizeOf(entries_.back());
    entries_.pop_back();
  }
  firstInMemory_ = std::min(firstInMemory_, next(last_));
  while (memberships_.back().index > last_) {
    memberships_.pop_back();
  }
}

void LogView::compact(LogIndex upTo) {
  auto there = term(upTo);
  KJ_REQUIRE(there.has_value(), "only entries of the log can go", raw(upTo), raw(base_.index), raw(last_));
  while (memberships_.size() > 1 && memberships_[1].index <= upTo) {
    memberships_.pop_front();
  }
  base_ = {*there, upTo};
  auto gone = runs_.begin();
  while (gone != runs_.end() && (gone + 1 == runs_.end() ? last_ <= upTo : (gone + 1)->first <= next(upTo))) {
    ++gone;
  }
  runs_.erase(runs_.begin(), gone);
  if (!runs_.empty()) {
    runs_.front().first = std::max(runs_.front().first, next(upTo));
  }
  forget(upTo, 0);
  firstInMemory_ = std::max(firstInMemory_, next(upTo));
}

std::vector<Entry> LogView::entries(LogIndex from, size_t countMax, size_t bytesMax) const {
  KJ_REQUIRE(from >= firstInMemory_, raw(from), raw(firstInMemory_));
  std::vector<Entry> result;
  size_t bytes = 0;
  for (LogIndex at = from; at <= last_ && result.size() < countMax; at = next(at)) {
    const auto& next = entry(at);
    bytes += sizeOf(next);
    if (!result.empty() && bytes > bytesMax) {
      break;
    }
    result.push_back(next);
  }
  return result;
}

void LogView::forget(LogIndex upTo, size_t bytesMax) {
  while (!entries_.empty() && bytes_ > bytesMax && entries_.front().index <= upTo) {
    bytes_ -= sizeOf(entries_.front());
    entries_.pop_front();
    firstInMemory_ = next(firstInMemory_);
  }
}

const Membership& LogView::membershipAt(LogIndex index) const {
  size_t found = 0;
  while (found + 1 < memberships_.size() && memberships_[found + 1].index <= index) {
    found++;
  }
  return memberships_[found].membership;
}

}  // namespace cairn::raft
