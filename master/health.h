// Health: is the cluster well, and if not, why, and what to do. Pure.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "master/placement/roster.h"
#include "master/placement/targets.h"
#include "rpc/shard_map.h"

namespace cairn {

struct Reason {
  std::string code;    // stable, for programs
  std::string text;    // which thing, what is wrong with it, what follows
  std::string action;  // what to do; empty: nothing, it mends itself
  bool critical = false;
};

struct ShardTally {
  uint32_t total = 0;
  uint32_t healthy = 0;      // all copies in sync
  uint32_t degraded = 0;     // some missing, more than one left
  uint32_t atRisk = 0;       // one left
  uint32_t unavailable = 0;  // none: neither read nor written
  uint32_t misplaced = 0;    // kept where the ring doesn't want it (counted besides)
  uint32_t waiting = 0;      // fewer than minCopies: not written (counted besides)
  uint32_t joining = 0;      // copies being brought up to date
  uint32_t pending = 0;      // missing copies that will be made elsewhere
};

// Of one that cluster.toml or the group knows.
struct MasterStanding {
  std::string name;
  std::string address;
  bool isMember = false;
  bool isVoter = false;
  bool answers = false;
};

struct HealthInput {
  const ShardMap& map;
  const Roster& roster;
  std::vector<MasterStanding> masters = {};
  std::vector<std::string> disobedience = {};  // why chunkservers take this master for one of an earlier time
  uint32_t serversWanted = 0;      // before the first placement
  uint64_t ownAvailableBytes = 0;  // of the master's disk
  bool ownSpaceShort = false;
  bool ownSpaceLow = false;
  Nanos now = 0;
  std::set<ServerId> spared = {};          // Standings
  const Targets::Plan* pending = nullptr;  // shards that are to get another target
  std::optional<Nanos> capsuleAge = {};    // CapsuleShipper::age()
  std::string capsuleTrouble = {};
};

struct Health {
  std::vector<Reason> reasons;  // critical ones first
  ShardTally shards;
  // "healthy", "degraded", "critical".
  const char* level() const;
};

Health assess(const HealthInput& input);

}  // namespace cairn
