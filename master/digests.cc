#include "master/digests.h"

#include <algorithm>

namespace cairn {

void DigestHistory::applied(LogIndex index, uint64_t digest) {
  if (raw(index) % EVERY != 0) {
    return;
  }
  kept_.emplace_back(index, digest);
  if (kept_.size() > KEPT) {
    kept_.pop_front();
  }
}

std::optional<uint64_t> DigestHistory::at(LogIndex index) const {
  for (const auto& [checkpoint, digest] : kept_) {
    if (checkpoint == index) {
      return digest;
    }
  }
  return std::nullopt;
}

std::optional<LogIndex> DigestHistory::newest(LogIndex upTo) const {
  for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
    if (it->first <= upTo) {
      return it->first;
    }
  }
  return std::nullopt;
}

DigestVerdict judge(const std::vector<DigestVote>& votes, size_t voters) {
  DigestVerdict verdict;
  for (const auto& vote : votes) {
    auto same = [&vote](const DigestVote& other) { return other.digest == vote.digest; };
    auto agree = static_cast<size_t>(std::count_if(votes.begin(), votes.end(), same));
    verdict.equal = verdict.equal && agree == votes.size();
    if (agree * 2 <= voters) {
      continue;
    }
    verdict.odd.clear();
    for (const auto& other : votes) {
      if (other.digest != vote.digest) {
        verdict.odd.push_back(other.member);
      }
    }
  }
  return verdict;
}

}  // namespace cairn
