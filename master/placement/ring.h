// The ring: which volumes a class's shards belong on. Pure: the same input gives the same placement everywhere.
//
// Every volume has tokens on a ring of hashes, as many as its weight asks for; a shard walks clockwise from its
// own hash and takes the first volumes in distinct failure domains, passing over those that hold their bound already.
//
// A bound alone would move replicas between volumes that were there all the time whenever the bound itself moves,
// so a placement starts from the one before it and changes only what it must: replicas of lost volumes go to where
// the walk leads; a new volume takes shards that walk into it early, from the fullest volumes first.
#pragma once
#include <vector>

#include "common/ids.h"
#include "master/placement/domains.h"

namespace cairn {

struct RingVolume {
  VolumeNumber number{};
  VolumeId id;
  Domain domain;  // two replicas of a shard are never in one
  uint32_t weight = 1;
  bool takes = true;  // false: keeps what it has, gets nothing new
};

// Tokens of a volume of average weight.
constexpr uint32_t TOKENS_PER_WEIGHT = 128;
// No volume holds more than this much of its fair share by weight.
constexpr double LOAD_BOUND = 1.10;

// Per shard position the volumes that should hold it, in the order of the shard's walk. Fewer than `copies` when there
// aren't domains enough that take.
using Placement = std::vector<std::vector<VolumeNumber>>;

// Fair number of replicas of each volume, in the order of `volumes`: proportional to weight, but no domain gets more
// than one replica of each shard. Sums to shardCount x min(copies, domains).
std::vector<double> fairShares(const std::vector<RingVolume>& volumes, uint32_t shardCount, uint32_t copies);

// `previous` is empty for the first placement. With fewer domains than `copies` each shard gets one replica a
// domain. REQUIRES: numbers and ids of `volumes` are distinct; `previous` is empty or of shardCount shards.
Placement placeShards(std::vector<RingVolume> volumes, ClassId cls, uint32_t shardCount, uint32_t copies,
                      const Placement& previous);

// Replicas of `after` that `before` doesn't have: what would have to be copied.
uint32_t replicasMoved(const Placement& before, const Placement& after);

}  // namespace cairn
