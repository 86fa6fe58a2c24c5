// Replication classes by what they are: how many copies, and what no two of them share. Pure.
#pragma once
#include <string>

#include "common/result.h"
#include "master/placement/domains.h"
#include "rpc/shard_map.h"

namespace cairn {

// Of one shard.
constexpr uint32_t CLASS_COPIES_MAX = 7;
// Each has as many shards as the first.
constexpr size_t CLASSES_MAX = 16;

struct ClassWish {
  uint32_t copies = 0;
  wire::FailureDomain level = wire::FailureDomain::SERVER;
};

// "3 copies in different racks".
std::string describe(const ClassWish& wish);
// The class that is just this; nullptr: there is none yet.
const ReplicationClass* findClass(const ShardMap& map, const ClassWish& wish);
// EINVAL: there are too few failure domains for it, or the wish makes no sense; ENOSPC: one class more can't be.
Status mayHave(const ShardMap& map, const ClassWish& wish);
// As it would be made.
ReplicationClass newClass(const ShardMap& map, const ClassWish& wish);

}  // namespace cairn
