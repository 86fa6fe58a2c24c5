#include "tests/sim/raft/world/raft_disk.h"

#include <kj/debug.h>

#include "common/checksum.h"

namespace cairn::raft {

void RaftState::apply(const Entry& entry) {
  KJ_ASSERT(entry.index == next(index), "applied out of order", raw(entry.index), raw(index));
  index = entry.index;
  digest = hash64(entry.payload.bytes(), digest ^ (raw(entry.term) << 8) ^ static_cast<uint64_t>(entry.type));
}

void RaftDisk::write(Persist persist, std::optional<RaftSnapshot> received) {
  KJ_ASSERT(persist.snapshot.has_value() == received.has_value());
  writes_.push_back({std::move(persist), std::move(received)});
}

Persist RaftDisk::finishOne() {
  Write write = std::move(writes_.front());
  writes_.pop_front();
  store(write, SIZE_MAX);
  return std::move(write.persist);
}

void RaftDisk::crash(Random& random) {
  while (!writes_.empty() && random.below(2) == 0) {
    const auto& write = writes_.front();
    size_t count = write.persist.entries.size();
    bool torn = random.below(2) == 0;
    store(write, torn ? random.below(count + 1) : SIZE_MAX);
    writes_.pop_front();
    if (torn) {
      break;
    }
  }
  writes_.clear();
}

void RaftDisk::store(const Write& write, size_t entries) {
  const auto& persist = write.persist;
  if (persist.hardState) {
    hard_ = *persist.hardState;
  }
  if (write.received) {
    snapshot_ = *write.received;
    base_ = snapshot_;
    entries_.clear();
  }
  if (persist.truncateFrom) {
    truncate(*persist.truncateFrom);
  }
  for (size_t i = 0; i < persist.entries.size() && i < entries; i++) {
    KJ_ASSERT(persist.entries[i].index == next(last()), "written out of order", raw(persist.entries[i].index));
    entries_.push_back(persist.entries[i]);
  }
}

void RaftDisk::truncate(LogIndex from) {
  KJ_ASSERT(from > snapshot_.last.index, "what the snapshot holds goes away", raw(from));
  while (!entries_.empty() && entries_.back().index >= from) {
    entries_.pop_back();
  }
}

void RaftDisk::compact(LogIndex upTo) {
  KJ_ASSERT(upTo <= snapshot_.last.index);
  while (!entries_.empty() && entries_.front().index <= upTo) {
    const auto& entry = entries_.front();
    base_.last = {entry.term, entry.index};
    if (entry.type == EntryType::MEMBERSHIP) {
      base_.membership = Membership::decode(entry.payload.bytes()).value();
    }
    entries_.pop_front();
  }
}

std::vector<Entry> RaftDisk::read(LogIndex first, LogIndex last, size_t bytesMax) const {
  std::vector<Entry> result;
  size_t bytes = 0;
  for (LogIndex at = first; at <= std::min(last, this->last()) && first > base(); at = next(at)) {
    const auto& entry = entries_[raw(at) - raw(base()) - 1];
    bytes += sizeOf(entry);
    if (!result.empty() && bytes > bytesMax) {
      break;
    }
    result.push_back(entry);
  }
  return result;
}

void RaftDisk::rot(LogIndex index) {
  if (index <= base_.last.index || index > last()) {
    return;
  }
  Position end{entries_.back().term, entries_.back().index};
  if (index <= snapshot_.last.index) {  // the state has it: the log begins after the snapshot
    compact(snapshot_.last.index);
    base_ = snapshot_;
    return;
  }
  damage_ = Damage{damage_ ? std::max(damage_->last, end) : end, hard_.term};
  truncate(index);
}

bool RaftDisk::everHeld(Position position) const {
  if (position.index <= snapshot_.last.index || (damage_ && position <= damage_->last)) {
    return true;
  }
  if (position.index <= base_.last.index || position.index > last()) {
    return false;
  }
  return entries_[raw(position.index) - raw(base_.last.index) - 1].term == position.term;
}

bool RaftDisk::everReached(LogIndex index) const {
  return index <= last() || (damage_ && index <= damage_->last.index);
}

Membership RaftDisk::membership() const {
  auto found = restart();
  return found.memberships.empty() ? found.membership : found.memberships.back().membership;
}

Restart RaftDisk::restart() const {
  Restart result;
  result.hard = hard_;
  result.base = base_.last;
  result.membership = base_.membership;
  result.last = last();
  result.snapshot = result.applied = snapshot_.last.index;
  for (const auto& entry : entries_) {
    if (result.runs.empty() || result.runs.back().term != entry.term) {
      result.runs.push_back({entry.term, entry.index});
    }
    if (entry.type == EntryType::MEMBERSHIP) {
      result.memberships.push_back({entry.index, Membership::decode(entry.payload.bytes()).value()});
    }
    if (entry.index > result.applied) {
      result.tail.push_back(entry);
    }
  }
  result.damage = damage_;
  return result;
}

}  // namespace cairn::raft
