// Chunkservers: drives the roster and the placement rules. Registrations and heartbeats come in, changes of the
// shard map go to the log, one entry for all that a turn brought, one entry under way at a time.
#pragma once
#include <kj/async.h>

#include <map>
#include <optional>
#include <set>

#include "common/clock.h"
#include "common/task.h"
#include "master/placement/acting_sets.h"
#include "master/repair_progress.h"
#include "master/replica.h"
#include "rpc/program.h"
#include "schema/master.capnp.h"

namespace cairn {

class Chunkservers final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t SERVERS_MAX = 4096;
  static constexpr size_t VOLUMES_MAX = 64;  // of one server

  Chunkservers(Clock& clock, Replica& replica, PlacementRules rules);
  ~Chunkservers() noexcept(false);

  // EEXIST: another live process has this id. ESTALE: it doesn't belong here. EINVAL: it makes no sense.
  Status arrive(wire::ServerHello::Reader hello);
  // For how long it may serve from when it sent the heartbeat. ESTALE: it must register again.
  Result<Nanos> beat(ServerId server, const Incarnation& incarnation, wire::Heartbeat::Reader beat);
  void leave(ServerId server, const Incarnation& incarnation);
  void disconnected(ServerId server, const Incarnation& incarnation);

  // People agree that what a volume holds back goes. ENOENT: none holds that back.
  Status agree(uint64_t plan);
  std::vector<uint64_t> agreed(ServerId server) const;
  // It has seen a longer history than this master's, and takes nothing from it.
  void disobeyed(wire::ServerHello::Reader hello, const std::string& why);
  // Why, of each that did so within the last DISOBEYED_SHOWN.
  std::vector<std::string> disobedience() const;

  const Roster& roster() const { return roster_; }
  Roster& roster() { return roster_; }
  const RepairProgress& repair() const { return repair_; }
  // Shards that are to get another target.
  const Targets::Plan& pending() const { return targets_.pending(); }
  // What its program said at its registration; nothing: it hasn't been here since this master leads.
  std::optional<Program> program(ServerId server) const;
  // As they count now.
  PlacementRules rules() const;
  // Up to which map version each server has confirmed its fences.
  std::map<ServerId, MapVersion> fencesDrained() const;

  // The replicated map has changed.
  void mapChanged();
  // A setting of the cluster has.
  void settingsChanged() { lookSoon(); }
  // To be called every TICK at most.
  void tick();

 private:
  static constexpr Nanos DISOBEYED_SHOWN = 30 * SECOND;
  struct Disobedience {
    std::string why;
    Nanos at = 0;
  };
  static constexpr Nanos RETRY = SECOND;  // after an entry that couldn't be written

  const ShardMap& map() const { return replica_.reader().map(); }
  Status checkHello(wire::ServerHello::Reader hello) const;
  void takeClaims(ServerId server, wire::Heartbeat::Reader beat);
  void forgetOldClaims();
  void lookSoon();
  Task<void> settle();
  Task<bool> settleOnce();
  std::set<uint64_t> heldPlans(const ServerId* server) const;
  static void describe(const MapChange& change, const ShardMap& map);
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  Replica& replica_;
  const PlacementRules rules_;
  Roster roster_;
  Targets targets_;
  RepairProgress repair_;
  std::map<std::pair<ShardId, VolumeNumber>, Epoch> claims_;  // of joining members: caught up
  std::map<ServerId, Disobedience> disobedience_;
  std::map<ServerId, Program> programs_;
  std::set<uint64_t> agreed_;  // plans of held removals
  uint64_t revisionSeen_ = 0;
  std::optional<Nanos> lookAgain_;
  bool lookDue_ = false;
  bool settling_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
