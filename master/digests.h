// Digests of the replicated state: applying is deterministic, so at the same entry all members have the same one. Who
// differs from the others is broken: a bad memory, a bug, a disk that lies.
#pragma once
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "master/raft/entry.h"

namespace cairn {

// This member's digests at recent checkpoints, which are the same entries on all members.
class DigestHistory {
 public:
  static constexpr uint64_t EVERY = 64;  // entries
  static constexpr size_t KEPT = 256;

  void applied(LogIndex index, uint64_t digest);
  // The state is another one now.
  void clear() { kept_.clear(); }
  std::optional<uint64_t> at(LogIndex index) const;
  // The newest checkpoint at or before an entry.
  std::optional<LogIndex> newest(LogIndex upTo) const;

 private:
  std::deque<std::pair<LogIndex, uint64_t>> kept_;
};

struct DigestVote {
  raft::MemberId member = raft::NOBODY;
  uint64_t digest = 0;
};

struct DigestVerdict {
  bool equal = true;                // all that were asked
  std::vector<raft::MemberId> odd;  // differ from what more than half of all voters agree upon
};

DigestVerdict judge(const std::vector<DigestVote>& votes, size_t voters);

}  // namespace cairn
