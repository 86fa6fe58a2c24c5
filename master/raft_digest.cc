// RaftReplica: the leader compares the members' states from time to time, and the one that differs stops.
#include <algorithm>

#include "common/log.h"
#include "master/raft_replica.h"

namespace cairn {

std::optional<uint64_t> RaftReplica::digestAt(LogIndex index) const {
  return digests_.at(index);
}

void RaftReplica::differs(LogIndex index) {
  state_.distrust("the state of this master differs from that of most others at entry " + std::to_string(raw(index)) +
                  ". If it happens again, run `dfsadmin raft remove` for it and start it with --join in an empty "
                  "directory, on another machine if you can");
}

void RaftReplica::compareSoon() {
  Nanos now = seams_.clock.monotonic();
  if (leads_ && !comparing_ && now - comparedAt_ >= COMPARE_PERIOD) {
    comparing_ = true;
    comparedAt_ = now;
    tasks_.add(compareStates());
  }
}

Task<void> RaftReplica::compareStates() {
  auto compared = co_await compareDigests();
  spdlog::debug("{} masters' states compared at entry {}", compared.members.size(), raw(compared.index));
  comparing_ = false;
}

// By all voters that answer.
LogIndex RaftReplica::reachedEverywhere() const {
  LogIndex reached = state_.machine().appliedIndex();
  for (const auto& [id, progress] : raft_->progress()) {
    bool counts = raft_->membership().isVoter(id) && progress.heardOf();
    reached = counts ? std::min(reached, progress.match()) : reached;
  }
  return reached;
}

Task<DigestComparison> RaftReplica::compareDigests() {
  DigestComparison out;
  auto checkpoint = digests_.newest(reachedEverywhere());
  if (!checkpoint) {
    co_return kj::mv(out);
  }
  out.index = *checkpoint;
  std::vector<DigestVote> votes;
  auto members = raft_->membership().members();
  std::erase_if(members, [](const raft::MemberRecord& member) { return !member.voter; });
  for (const auto& member : members) {
    auto digest = digests_.at(out.index);
    if (member.id != self_) {
      auto asked = co_await links_.askDigest(member.id, out.index);
      digest = asked;
    }
    out.members.push_back({memberAbout(member.about).name, digest});
    if (digest) {
      votes.push_back({member.id, *digest});
    }
  }
  auto verdict = judge(votes, members.size());
  out.equal = verdict.equal;
  for (size_t i = 0; i < members.size(); ++i) {
    out.members[i].odd = std::count(verdict.odd.begin(), verdict.odd.end(), members[i].id) > 0;
  }
  act(verdict, out.index);
  co_return kj::mv(out);
}

void RaftReplica::act(const DigestVerdict& verdict, LogIndex checkpoint) {
  if (!verdict.equal && verdict.odd.empty()) {
    spdlog::error("the masters' states differ at entry {}, and no majority says which is right", raw(checkpoint));
  }
  for (raft::MemberId member : verdict.odd) {
    const auto* record = raft_->membership().find(member);
    spdlog::error("the state of master {} differs from that of most others at entry {}: it is stopped",
                  record == nullptr ? "?" : memberAbout(record->about).name, raw(checkpoint));
    if (member == self_) {
      differs(checkpoint);
    } else {
      links_.tellDiffers(member, checkpoint);
    }
  }
}

}  // namespace cairn
