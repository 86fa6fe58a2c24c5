// Office: everything that a leading master keeps in memory and serves from. Made when it begins to lead, gone when it
// leads no longer: the next leader's office begins anew, from the replicated state.
#pragma once
#include <kj/memory.h>

#include "master/capsule/capsule_shipper.h"
#include "master/core.h"
#include "master/space.h"
#include "master/trash_keeper.h"
#include "master/upgrade.h"

namespace cairn {

class Office final : private ReplicaObserver {
 public:
  Office(Clock& clock, Random& random, Workers& workers, Replica& replica, const ClusterFile& cluster,
         std::string name, std::string version, OwnSpace& ownSpace, uint32_t trashSeconds, Observation& observation,
         CertificateAuthority* authority)
      : replica_(replica),
        publisher_(clock, replica.reader().map()),
        chunkservers_(clock, replica, PlacementRules{cluster.servers, cluster.repairDelaySeconds * SECOND}),
        cleanup_(clock, replica),
        mover_(clock, random, replica, chunkservers_),
        sessions_(clock, random, replica, chunkservers_),
        locks_(clock, replica),
        quotas_(clock, replica, sessions_.leases()),
        trash_({clock, replica, chunkservers_, sessions_, cleanup_, ownSpace}, trashSeconds),
        upgrade_(clock, replica, chunkservers_),
        capsules_(clock, workers, replica, cluster.cluster),
        core_{clock,    replica, cluster,   std::move(name), std::move(version), publisher_, chunkservers_,
              cleanup_, mover_,  sessions_, names_,          locks_,             ownSpace,   quotas_,
              capsules_, observation, underWay_, authority},
        lifeline_(kj::refcounted<Lifeline>(core_)) {
    replica.setObserver(this);
    // Whether deletes are kept must be in the log before the first client's session.
    trash_.tick();
  }
  KJ_DISALLOW_COPY(Office);
  ~Office() noexcept(false) {
    replica_.setObserver(nullptr);
    lifeline_->cut();
  }

  Lifeline& lifeline() { return *lifeline_; }

  void tick() {
    chunkservers_.tick();
    sessions_.tick();
    locks_.tick();
    cleanup_.tick(isFilling(chunkservers_.roster()));
    mover_.tick();
    trash_.tick();
    upgrade_.tick();
    core_.observation.look(core_);
  }

  Core& core() { return core_; }

 private:
  // Tells the parts what an entry changed.
  void onApplied(wire::Command::Reader command, const Applied& applied) override {
    sessions_.onApplied(command, applied);
    locks_.onApplied(command, applied);
    if (applied.changes.map) {
      publisher_.changed();
      chunkservers_.mapChanged();
      sessions_.mapChanged();
    }
    if (command.isSetting()) {
      chunkservers_.settingsChanged();
    }
    if (applied.changes.queued) {
      cleanup_.queued();
    }
  }

  void onEntry(LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload) override {
    capsules_.onEntry(index, term, payload);
  }

  Replica& replica_;
  MapPublisher publisher_;
  Chunkservers chunkservers_;
  Cleanup cleanup_;
  Mover mover_;
  Sessions sessions_;
  LockQueue locks_;
  Quotas quotas_;
  TrashKeeper trash_;
  Upgrade upgrade_;
  NameGate names_;
  CapsuleShipper capsules_;
  SlotsUnderWay underWay_;
  Core core_;
  kj::Own<Lifeline> lifeline_;
};

}  // namespace cairn
