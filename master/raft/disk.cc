// What is to be written, what waits for it, and what is applied; snapshots and the end of the log that they replace.
#include <kj/debug.h>

#include <algorithm>

#include "master/raft/raft.h"

namespace cairn::raft {

namespace {

constexpr size_t APPLY_BYTES_MAX = 4 << 20;  // of one ready()

void moveAll(std::vector<Message>& from, std::vector<Message>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  from.clear();
}

}  // namespace

// No message of this member may show a term that it could forget.
void Raft::collectMessages(Output& output) {
  if (durableHard_ == hard_) {
    moveAll(afterHard_, output.messages);
  } else {
    moveAll(afterHard_, afterAll_);
  }
}

void Raft::collectPersist(Output& output) {
  Persist persist;
  if (issuedHard_ != hard_) {
    persist.hardState = hard_;
  }
  persist.snapshot = std::exchange(install_, std::nullopt);
  persist.truncateFrom = std::exchange(truncateFrom_, std::nullopt);
  if (issued_ < log_.last()) {
    persist.entries = log_.entries(next(issued_), SIZE_MAX, SIZE_MAX);
  }
  bool hasContent = persist.hardState || persist.snapshot || persist.truncateFrom || !persist.entries.empty();
  if (!hasContent && inFlight_.empty()) {
    moveAll(afterAll_, output.messages);
  }
  if (!hasContent && afterAll_.empty()) {
    return;
  }
  persist.id = lastPersist_ = next(lastPersist_);
  persist.messages = std::exchange(afterAll_, {});
  issuedHard_ = hard_;
  issued_ = log_.last();
  inFlight_.push_back({persist.id, persist.hardState, issued_, persist.snapshot.has_value()});
  output.persist = std::move(persist);
}

void Raft::persisted(PersistId id) {
  while (!inFlight_.empty() && inFlight_.front().id <= id) {
    durable_ = inFlight_.front().last;
    durableHard_ = inFlight_.front().hard.value_or(durableHard_);
    inFlight_.pop_front();
  }
  if (role_ == Role::CANDIDATE && durableHard_ == hard_ && !votes_.contains(options_.self)) {
    votes_[options_.self] = true;
    countVotes();
  }
  if (isLeader()) {
    advanceCommit();
  }
  checkDamage();
}

void Raft::collectApply(Output& output) {
  auto installs = [](const InFlight& write) { return write.isInstall; };
  bool stateIsThere = std::none_of(inFlight_.begin(), inFlight_.end(), installs);
  if (handedOut_ < commit_ && stateIsThere) {
    size_t count = raw(commit_) - raw(handedOut_);
    output.apply = log_.entries(next(handedOut_), count, APPLY_BYTES_MAX);
    handedOut_ = output.apply.back().index;
    for (const auto& entry : output.apply) {
      uncommittedBytes_ -= std::min(uncommittedBytes_, entry.payload.size());
    }
  }
  log_.forget(std::min(handedOut_, durable_), options_.memoryBytesMax);
}

// The snapshot takes the place of the whole log. What is being written of the old one counts for nothing any more.
void Raft::install(const InstallSnapshot& snapshot) {
  log_.reset(snapshot.last, snapshot.membership);
  commit_ = handedOut_ = snapshot_ = snapshot.last.index;
  issued_ = snapshot.last.index;
  durable_ = LogIndex{};
  for (auto& write : inFlight_) {
    write.last = LogIndex{};
  }
  truncateFrom_ = std::nullopt;
  install_ = snapshot;
}

void Raft::snapshotMade(LogIndex index) {
  KJ_REQUIRE(log_.term(index).has_value() && index <= handedOut_, raw(index), raw(handedOut_));
  snapshot_ = std::max(snapshot_, index);
}

void Raft::compact(LogIndex upTo) {
  if (upTo > log_.base().index) {
    KJ_REQUIRE(upTo <= snapshot_ && upTo <= durable_, raw(upTo), raw(snapshot_), raw(durable_));
    log_.compact(upTo);
  }
}

}  // namespace cairn::raft
