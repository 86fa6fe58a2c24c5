// ShardReplica: one volume's part in one shard, as the shard map says it. State shared by the parts that act on it:
// Primary, Backup, Reconciler and Joiner. Made when the volume first gets a part, kept for the life of the process.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "chunkserver/replication/applies.h"
#include "chunkserver/replication/fences.h"
#include "chunkserver/replication/membership.h"
#include "chunkserver/replication/peers.h"
#include "chunkserver/replication/pending_set.h"
#include "chunkserver/replication/signal.h"
#include "chunkserver/replication/throttle.h"
#include "chunkserver/store/volume_store.h"
#include "common/metrics/operation.h"

namespace cairn {

// One data directory of this server. `number` is known once the map has it.
struct LocalVolume {
  explicit LocalVolume(VolumeStore& store) : store(&store), id(store.identity().volume) {}
  VolumeStore* store;  // never null; another one after the volume was opened anew
  const VolumeId id;
  std::optional<VolumeNumber> number;
  bool failed = false;
  // Shards that left it and whose chunks go to quarantine now (census.h): who joins one of them again begins when that
  // is over, or it would take what goes for what it has.
  std::set<ShardId> emptied;
  uint64_t differingChunks = 0;   // found to differ from other copies while all verify
  uint64_t adoptedElsewhere = 0;  // blocks adopted from another member's torn bytes, not counted by the store
};

// What every part of replication needs of the server around it.
struct Surroundings {
  Clock& clock;
  Random& random;
  Membership& membership;
  Peers& peers;
  Fences& fences;
  // Local work on whole chunks: describing, reading and installing images. Never held across a call to a peer.
  Permits& heavy;
  // Chunks that this server makes equal at the same time, and those that it fetches for joining members: these may have
  // to give way to users, and reconciliation must not wait for them.
  Permits& transfers;
  Permits& fetches;
  // Raised when a primary has nothing in flight any more: its members should hear of it.
  Wakeup& fellQuiet;
  // What users feel, and how fast copies may be fetched and given away for joining members.
  Load& load;
  Throttle& joins;
  Throttle& gives;
  // That joining members have fetched since this process started.
  uint64_t takenOverBytes = 0;
  Nanos slow = SLOW_DEFAULT;  // from when on people are told where the time went; 0: never
};

enum class Role { NONE, PRIMARY, IN_SYNC, JOINING };

// Another member of the shard.
struct MemberName {
  VolumeNumber volume{};
  ServerId server;
};

struct ShardReplica {
  ShardReplica(LocalVolume& volume, ShardId shard) : volume(volume), shard(shard) {}

  LocalVolume& volume;
  const ShardId shard;
  ShardRecord record;
  Role role = Role::NONE;
  // Rises with each new epoch or role. Who waited compares it and gives up.
  uint64_t turn = 0;
  // This epoch is reconciled: a primary may serve everything, an in-sync member reads.
  bool ready = false;
  // Not reconciled nor caught up since the process started: every dirty chunk may differ from other members'.
  bool restarted = true;
  // A joining member has everything and has synced it: told to the master.
  bool caughtUp = false;
  // Of a joining member: so much a chunk needed that found no room.
  uint64_t roomWanted = 0;
  // A member without a gap since this epoch. And, on a primary that has gathered them, since when the others are.
  Epoch since{};
  std::map<VolumeNumber, Epoch> othersSince;
  // When this volume's copy of a chunk was last given up for another member's: what was in flight then may be undone.
  std::map<ChunkId, Nanos> givenUp;
  PendingSet pending;
  Applies applies;
  // Raised when any of the above changes.
  Wakeup changed;

  VolumeStore& store() const { return *volume.store; }
  VolumeNumber number() const { return *volume.number; }
  Epoch epoch() const { return record.epoch; }
  ChunkKey key(ChunkId chunk) const { return {shard, chunk}; }
  bool lacksRoom() const { return role == Role::JOINING && roomWanted > store().space().availableBytes; }
  bool serving() const { return !volume.failed && (role == Role::PRIMARY || role == Role::IN_SYNC); }
};

}  // namespace cairn
