// Which of a cluster's masters leads. All are asked at the same time: one that is silent delays nobody, and a machine
// that has lost its power says nothing for as long as somebody waits.
#pragma once
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/random.h"
#include "common/result.h"
#include "common/task.h"
#include "rpc/network.h"
#include "schema/types.capnp.h"

namespace cairn {

struct LeaderSearch {
  Network& network;
  Clock& clock;
  const ClusterFile& cluster;
  wire::Role role;
  std::string name;      // of who asks
  GroupEpoch epoch{};    // the highest that it knows of: masters of a lower one don't count
};

struct LeaderFound {
  std::optional<size_t> leader;  // its place in ClusterFile::masters; nothing: none said in time that it leads
  Status refusal;                // one that didn't: ESTALE when a master belongs to another cluster or protocol
  GroupEpoch epoch{};            // the highest that was heard of
  MasterAddress unnamed;         // said to lead, and the cluster file doesn't name it; no name: there is none
};

// A master that leaves something unanswered for so long may be gone without a word: the others are asked who leads, and
// so often.
constexpr Nanos MASTER_SILENCE = 200 * MILLISECOND;
constexpr Nanos SILENCE_LOOK = 40 * MILLISECOND;

// Before try n (from 0) wait so long. While one of several masters is being elected it is worth asking often.
Nanos searchDelay(const ClusterFile& cluster, Random& random, unsigned tries);

// `but`: isn't asked. When one has answered that it doesn't lead, the others get a moment more, and not their whole
// time: the silent one may be the one that is gone. The moment grows with `tries`, in case all is slow.
Task<LeaderFound> findLeader(LeaderSearch search, unsigned tries, std::optional<size_t> but = std::nullopt);

}  // namespace cairn
