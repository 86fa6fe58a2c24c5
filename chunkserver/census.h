// Census: finds chunks that nobody wants any more, and takes them out of service: those of objects that no file has,
// as the master says, and those of shards that this volume is no member of, once all copies are in sync elsewhere.
// Nothing goes in a hurry: what is found must be found again after a grace time, it goes into quarantine, and when it
// is a large part of a volume people have to agree first, for then it is rather the question that is wrong.
#pragma once
#include <deque>
#include <map>
#include <vector>

#include "chunkserver/registration.h"
#include "chunkserver/removal_limit.h"
#include "chunkserver/replication/replicator.h"
#include "chunkserver/work.h"

namespace cairn {

class Census {
 public:
  // In one question to the master.
  static constexpr size_t OBJECTS_AT_ONCE = 64 << 10;
  // What went within this time counts for how much may go.
  static constexpr Nanos REMOVED_WITHIN = 3600 * SECOND;
  // The master is asked so often in a grace time; what belongs elsewhere is looked for more often.
  static constexpr Nanos LOOKS = 4;
  static constexpr Nanos LOOK_EVERY = 10 * SECOND;
  // For what belongs elsewhere, at most; and where a volume is filling up, or is to be empty.
  static constexpr Nanos SURPLUS_GRACE = 600 * SECOND;
  static constexpr Nanos SURPLUS_GRACE_HURRIED = 15 * SECOND;
  static constexpr uint64_t FILLING_PERCENT = 75;
  static constexpr uint32_t CHUNKS_AT_ONCE = 256;

  // All of them must outlive the census. `grace`: for which a chunk must have been unwanted.
  Census(Clock& clock, Membership& membership, Replicator& replicator, WorkRunner& work, Registration& registration,
         std::vector<VolumeStanding>& volumes, Nanos grace);
  KJ_DISALLOW_COPY(Census);
  Task<void> run();
  void setGrace(Nanos grace) { grace_ = grace; }

 private:
  using Owned = std::pair<ObjectId, ShardId>;
  struct Removed {
    Nanos at = 0;
    RemovalCount count;
  };
  // What is remembered of a volume from one look to the next.
  struct Memory {
    Nanos askedAt = 0;  // the master, of all chunks; 0: never
    uint64_t chunks = 0;
    std::vector<Owned> unknown;  // that are held back
    uint64_t unknownChunks = 0;
    std::map<Owned, Nanos> unknownSince;
    std::map<ShardId, Nanos> surplusSince;
    std::deque<Removed> removed;
  };
  // What a look has found.
  struct Found {
    bool whole = true;  // not only what belongs elsewhere: of the rest the last whole look has told
    uint64_t chunks = 0;
    uint64_t unknownChunks = 0;
    uint64_t surplusChunks = 0;
    std::vector<Owned> unknown;
    std::vector<ShardId> surplus;
    std::map<Owned, Nanos> unknownSince;
    std::map<ShardId, Nanos> surplusSince;
    std::map<Owned, uint32_t> asking;  // and how many chunks
  };

  Task<void> look(VolumeStanding& standing);
  Task<Status> countShard(LocalVolume& volume, ShardId shard, Found& found, Memory& memory);
  Task<Status> ask(Found& found, Memory& memory);
  bool leaves(const LocalVolume& volume) const;
  Nanos surplusGrace(LocalVolume& volume) const;
  void noteSurplus(LocalVolume& volume, ShardId shard, uint64_t chunks, Found& found, Memory& memory);
  bool isMember(const LocalVolume& volume, const ShardRecord& record) const;
  bool isWholeElsewhere(const ShardRecord& record) const;
  HeldRemoval weigh(const VolumeStanding& standing, const Found& found, Memory& memory);
  Task<void> remove(LocalVolume& volume, Found& found, Memory& memory);
  Task<bool> removeShard(LocalVolume& volume, ShardId shard);
  Task<bool> emptyShard(LocalVolume& volume, ShardId shard);

  Clock& clock_;
  Membership& membership_;
  Replicator& replicator_;
  WorkRunner& work_;
  Registration& registration_;
  std::vector<VolumeStanding>& volumes_;
  Nanos grace_;
  std::map<VolumeId, Memory> memories_;
};

}  // namespace cairn
