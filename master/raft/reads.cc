// Reads without a log entry (thesis, section 6.4): a leader that a majority acknowledges *after* the question knows of
// everything that was acknowledged before it. Questions of one turn share a round of heartbeats. A round is a number of
// this term that is never used twice, so no late answer can speak for a later question.
#include "master/raft/raft.h"

namespace cairn::raft {

std::optional<ReadId> Raft::requestRead() {
  if (!isLeader()) {
    return std::nullopt;
  }
  newReads_.push_back({hard_.term, options_.self, ++readCounter_});
  return newReads_.back();
}

// Before its term's first entry is committed a leader doesn't know how far its predecessors came.
void Raft::startReads() {
  if (newReads_.empty()) {
    return;
  }
  if (!committedInTerm()) {
    reached(Rare::READ_AWAITED_TERM_START);
    return;
  }
  sendHeartbeats();
  for (auto id : newReads_) {
    reads_.push_back({id, round_, commit_});
  }
  newReads_.clear();
  confirmReads();
}

void Raft::confirmReads() {
  auto answered = [this](MemberId id) { return id == options_.self ? round_ : progress_.at(id).readRound; };
  uint64_t confirmed = membership().reachedByMajority(answered);
  extendLease(confirmed);
  while (!reads_.empty() && reads_.front().round <= confirmed) {
    output_.reads.push_back({reads_.front().id, reads_.front().index});
    reads_.pop_front();
  }
}

void Raft::failReads() {
  for (const auto& read : reads_) {
    output_.failedReads.push_back(read.id);
  }
  output_.failedReads.insert(output_.failedReads.end(), newReads_.begin(), newReads_.end());
  if (!reads_.empty() || !newReads_.empty()) {
    reached(Rare::READ_FAILED);
  }
  reads_.clear();
  newReads_.clear();
}

}  // namespace cairn::raft
