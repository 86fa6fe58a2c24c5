// What a change of the cluster's servers would do, reckoned from the map and the status: what has to be copied, how
// long that takes, how full the disks are then. Pure.
#pragma once
#include <optional>
#include <string>

#include "rpc/shard_map.h"
#include "tools/admin/output.h"

namespace cairn::admin {

enum class Move { ADD, DRAIN, REMOVE, FAIL };

struct MovePlan {
  uint32_t copiesMoved = 0;
  uint64_t bytesToMove = 0;
  uint64_t etaSeconds = 0;
  uint32_t leastCopies = 0;          // of any shard on the way, counting those in sync now
  uint64_t availableBytesAfter = 0;  // on all disks
  uint32_t fullestPercentAfter = 0;  // of one disk
  std::string refused;               // why it would break redundancy or capacity; empty: it wouldn't
};

// Without a measured speed this is assumed.
constexpr uint64_t ASSUMED_BYTES_PER_SECOND = 100 << 20;
// So full no disk may become.
constexpr uint32_t FULLEST_PERCENT_MAX = 95;

struct NewServer {
  uint64_t bytes = 0;  // of its disk; 0: as the others'
  std::string rack;
  std::string zone;
};

// `server`: of a name that the map knows, or of the new one, which is as `added` says.
MovePlan planMove(const ShardMap& map, const Json& status, Move move, const std::string& server,
                  const NewServer& added = {});

}  // namespace cairn::admin
