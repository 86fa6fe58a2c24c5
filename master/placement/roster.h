// Roster: which chunkservers can serve, as far as their heartbeats tell. Pure: time comes with each call.
//
// A chunkserver serves for SERVER_LEASE after it *sent* a heartbeat; it counts as gone REPLACE_AFTER after a
// heartbeat *arrived*, so that a gone one serves no more, however slow its messages were. Soft state: after the
// master's start everything that the map calls online is presumed present until START_GRACE has passed.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "rpc/held_removal.h"
#include "rpc/shard_map.h"

namespace cairn {

constexpr Nanos SERVER_LEASE = 700 * MILLISECOND;
constexpr Nanos REPLACE_AFTER = 1400 * MILLISECOND;
// After the master's start, for servers to come back.
constexpr Nanos START_GRACE = 3 * SECOND;
// A server that didn't answer another in time and lost its lease for it stays out this long, twice as long each time.
constexpr Nanos DISTRUST = 5 * SECOND;
constexpr Nanos DISTRUST_MAX = 80 * SECOND;
// Longer than this between two looks at the clock: this process stood still, not the servers.
constexpr Nanos STALL = 500 * MILLISECOND;

// A server that went so often within this time comes and goes.
constexpr size_t FLAPS = 3;
constexpr Nanos FLAP_WINDOW = 300 * SECOND;

enum class Presence {
  GONE,      // can't serve
  PRESUMED,  // the map says online; not heard of since this master started
  PRESENT,   // lease runs, under the incarnation that the map knows
  ARRIVED,   // lease runs, under an incarnation that the map doesn't know yet: has restarted
};

struct VolumeState {
  VolumeId id;
  uint64_t totalBytes = 0;
  uint64_t usedBytes = 0;
  uint64_t retiredBytes = 0;  // deleted, kept for a while, not in usedBytes
  bool usable = true;
  std::string why;  // not usable
  Nanos since = 0;  // usable or not
  uint64_t badBlocks = 0;
  uint64_t adoptedBlocks = 0;
  uint64_t ownBytes = 0;  // of usedBytes, in chunks
  uint64_t unmendedBlocks = 0;
  uint64_t differingChunks = 0;
  bool slow = false;
  HeldRemoval held;
  bool noRoom = false;      // for a chunk of a joining member
  Nanos noRoomAt = 0;       // when that was last so; 0: never
};

class Roster {
 public:
  // What is known of one server. `since`: when it came or went.
  struct Member {
    ServerRecord record;  // as the server tells; as the map has it until then
    std::map<VolumeId, VolumeState> volumes;
    bool registered = false;
    uint32_t links = 0;  // live registrations of this incarnation
    bool alive = false;
    bool left = false;  // in good order
    Nanos since = 0;
    Nanos leaseEnd = 0;
    Nanos revokedBy = 0;  // lease isn't renewed until it has run out; 0: it is
    std::set<ServerId> suspectedBy;
    Nanos distrustedUntil = 0;
    Nanos distrust = DISTRUST;
    std::deque<Nanos> departures;  // the latest FLAPS
    Nanos maintenanceSince = 0;    // as this master has seen; 0: not in maintenance
    Nanos maintenanceEnd = 0;      // of the last one
    MapVersion applied{};  // map version that it has applied
    MapVersion fencesDrained{};
    // It gets no lease while an entry is on its way that takes it out of an in-sync set, nor before it knows that
    // entry: it would answer reads with what the others overwrite meanwhile.
    uint32_t drops = 0;
    MapVersion mustKnow{};
  };

  Roster(const ShardMap& map, Nanos now);

  // A server registers. EEXIST: a live process with another incarnation has this id.
  Status arrive(ServerRecord record, std::vector<VolumeState> volumes, Nanos now);
  // A heartbeat of a server that has applied the map of version `applied`: for how long may it serve from when it sent
  // it? 0: not longer than it may already. False: it isn't registered under this incarnation (any more).
  bool beat(ServerId server, const Incarnation& incarnation, MapVersion applied, Nanos now, Nanos& lease);
  void reportVolume(ServerId server, VolumeState volume, Nanos now);
  void reportMap(ServerId server, MapVersion applied, MapVersion fencesDrained);
  // `suspect` doesn't answer `reporter` in time: its lease is left to run out. A reporter that suspects most others
  // is itself the one that is cut off.
  void suspect(ServerId reporter, ServerId suspect, Nanos now);
  void leave(ServerId server, const Incarnation& incarnation, Nanos now);
  void disconnected(ServerId server, const Incarnation& incarnation);

  // Takes from the map when maintenance began and ended, and forgets servers that were removed from it.
  void follow(const ShardMap& map, Nanos now);
  // Its maintenance lasts as long again.
  void prolongMaintenance(ServerId server, Nanos now);

  // An entry is on its way that takes copies of these, which are gone, out of in-sync sets. When it is over they must
  // know the map of `version`: 0 if nothing came of it.
  void beginDrop(const std::set<ServerId>& servers);
  void endDrop(const std::set<ServerId>& servers, MapVersion version);

  // Lets leases run out. Call it whenever nextExpiry() is reached and at least every STALL / 2.
  void passTime(Nanos now);

  Presence presence(ServerId server, const Incarnation& inMap) const;
  // Of the server's volume as well: GONE when it isn't usable there.
  Presence presence(const ShardMap& map, VolumeNumber volume) const;
  // When its volume came or went.
  Nanos since(const ShardMap& map, VolumeNumber volume) const;
  const std::map<ServerId, Member>& members() const { return members_; }
  const Member* member(ServerId server) const;
  // It speaks, under whatever incarnation.
  bool isHere(ServerId server) const;
  bool isFlapping(ServerId server, Nanos now) const;
  // When its last maintenance ended; 0: there was none.
  Nanos maintenanceEnd(ServerId server) const;
  // Rises with whatever a placement decision depends on.
  uint64_t revision() const { return revision_; }

 private:
  void end(Member& member, Nanos now);
  static void noteDeparture(Member& member, Nanos now);
  size_t othersAlive(ServerId server) const;

  std::map<ServerId, Member> members_;
  Nanos lastLook_;
  uint64_t revision_ = 1;
};

}  // namespace cairn
