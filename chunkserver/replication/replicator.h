// Replicator: all replicas of this server. Takes each new shard map to them, lets requests in, runs what goes on in the
// background: reconciling, catching up, telling members what is settled, watching for silent ones.
#pragma once
#include <kj/async.h>

#include <map>
#include <set>
#include <vector>

#include "chunkserver/replication/backup.h"
#include "chunkserver/replication/joiner.h"
#include "chunkserver/replication/primary.h"
#include "chunkserver/replication/reconciler.h"
#include "chunkserver/replication/replica.h"

namespace cairn {

// One replica with everything that acts on it.
struct ReplicaUnit {
  ReplicaUnit(Surroundings& around, LocalVolume& volume, ShardId shard, kj::TaskSet& tasks, PendingGather& gather,
              Permits& rounds, Wakeup& caughtUp)
      : state(volume, shard),
        primary(around, state, tasks),
        backup(around, state),
        reconciler(around, state, gather),
        joiner(around, state, backup, rounds, caughtUp) {}
  ShardReplica state;
  Primary primary;
  Backup backup;
  Reconciler reconciler;
  Joiner joiner;
};

enum class Access { READ, WRITE, SYNC };

struct Admission {
  wire::Verdict verdict = wire::Verdict::OK;
  const char* why = "";
  ReplicaUnit* unit = nullptr;  // when OK
  Wakeup* signal = nullptr;     // not OK, but may become so: ask again when this is raised
};

class Replicator final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint32_t HEAVY_MAX = 8;      // whole chunks being read or installed
  static constexpr uint32_t TRANSFERS_MAX = 8;  // whole chunks being fetched or made equal
  static constexpr uint32_t ROUNDS_MAX = 32;    // shards catching up
  static constexpr uint32_t REPAIRS_MAX = 4;    // chunks being repaired
  static constexpr Nanos TICK = 200 * MILLISECOND;
  static constexpr Nanos QUIET_DELAY = 10 * MILLISECOND;  // from a shard's last mutation to `settled`
  static constexpr Nanos SETTLED_LIMIT = 5 * SECOND;

  // `joinRate`: bytes a second that joining members fetch; 0: as fast as users don't feel it.
  Replicator(Clock& clock, Random& random, Membership& membership, Peers& peers, std::vector<LocalVolume*> volumes,
             uint64_t joinRate = 0);
  ~Replicator() noexcept(false);
  KJ_DISALLOW_COPY(Replicator);

  // From now on; as in the constructor.
  void setJoinRate(uint64_t joinRate);
  // membership.map has changed. All units know it when this returns.
  void mapChanged();
  // A volume's store has failed: none of its replicas serves any more.
  void volumeFailed(LocalVolume& volume);

  // It has another store now, made from what was left: every chunk there must be compared before it counts.
  void volumeReopened(LocalVolume& volume);

  // Whether a client's request may go ahead here and now.
  Admission admit(wire::Target::Reader target, Access access);
  // The member of `shard` on the volume; nullptr when there never was one.
  ReplicaUnit* find(VolumeNumber volume, ShardId shard);
  // This server's primary of the shard, or nullptr.
  ReplicaUnit* primaryOf(ShardId shard);
  const std::map<std::pair<VolumeNumber, ShardId>, kj::Own<ReplicaUnit>>& units() const { return units_; }

  // The member is settled in this epoch: its in-sync mark follows, with those of other shards.
  void noteInSync(ReplicaUnit& unit);
  // Replaces the chunk's bad blocks from a good copy, in the background.
  void startRepair(ReplicaUnit& unit, ChunkId chunk);
  // The same after a look at which blocks are bad.
  void startCheck(ReplicaUnit& unit, ChunkId chunk);
  // The same, waiting for its end; nothing while it is under way already.
  Task<void> mend(ReplicaUnit& unit, ChunkId chunk);
  // The same of a shard whose primary is here, in any case from now on. True when the copies of all in-sync members
  // were read and are equal: what is bad then is bad in all of them.
  Task<bool> mendWithin(ReplicaUnit& unit, ChunkId chunk, Nanos limit);

  Surroundings& around() { return around_; }
  Fences& fences() { return fences_; }
  kj::TaskSet& tasks() { return tasks_; }
  // Raised when a joining member has caught up.
  Wakeup caughtUp;
  // No mutation is under way and no chunk is pending on any replica of the volume.
  bool quiet(const LocalVolume& volume) const;
  // Tells members what is settled, at once.
  void announce();
  // Of all its joining members.
  JoinProgress joinProgress(const LocalVolume& volume) const;
  // Some joining member found no room for a chunk, and there is none now.
  bool lacksRoom(const LocalVolume& volume) const;

 private:
  using Key = std::pair<VolumeNumber, ShardId>;
  void taskFailed(kj::Exception&& e) override;
  bool isAdmitted() const;
  bool learnVolumes();
  void update(LocalVolume& volume, const ShardRecord& record);
  void enter(ReplicaUnit& unit, const ShardRecord& record, Role role);
  Task<void> reconcile(ReplicaUnit& unit);
  Task<void> ticks();
  Task<void> announceQuiet();
  Task<void> announceSoon();
  struct Settled {
    ReplicaUnit* unit;
    unsigned slot;
    uint64_t turn;
    uint64_t completeBelow;
  };
  Task<void> sendSettled(MemberName member, std::vector<Settled> settled);
  Task<void> writeMarks(LocalVolume& volume);
  Task<void> repair(ReplicaUnit& unit, ChunkId chunk);
  Task<void> repairFor(ReplicaUnit& unit, ChunkId chunk, kj::Own<kj::PromiseFulfiller<bool>> told);
  Task<void> check(ReplicaUnit& unit, ChunkId chunk);
  Admission later(wire::Verdict verdict, const char* why, Wakeup& signal) { return {verdict, why, nullptr, &signal}; }

  Membership& membership_;
  Fences fences_;
  Permits heavy_{HEAVY_MAX};
  Permits transfers_{TRANSFERS_MAX};
  Permits fetches_{TRANSFERS_MAX};
  Permits rounds_{ROUNDS_MAX};
  Permits repairs_{REPAIRS_MAX};
  Wakeup fellQuiet_;
  Load load_;
  Throttle joins_;
  Throttle gives_;
  Surroundings around_;
  std::vector<LocalVolume*> volumes_;
  std::map<Key, kj::Own<ReplicaUnit>> units_;
  std::map<ShardId, ReplicaUnit*> serving_;  // primary, else in-sync
  std::map<LocalVolume*, std::vector<VolumeStore::InSyncMark>> marks_;
  std::set<std::pair<ShardId, ChunkId>> repairing_;
  std::set<std::pair<ShardId, ChunkId>> checking_;
  std::set<VolumeNumber> settling_;  // a `settled` is on its way there
  bool announcing_ = false;
  bool admitted_ = false;
  PendingGather gather_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
