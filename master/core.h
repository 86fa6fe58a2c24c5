// Core: the parts of one running master, as its services see them. Services are capabilities: connections keep them
// alive, perhaps a little longer than the master itself, so they reach the core through a Lifeline that ends with it.
#pragma once
#include <kj/async.h>
#include <kj/refcount.h>

#include <string>

#include "common/clock.h"
#include "common/cluster_file.h"
#include "common/task.h"
#include "master/authority.h"
#include "master/capsule/capsule_shipper.h"
#include "master/chunkservers.h"
#include "master/cleanup.h"
#include "master/lock_queue.h"
#include "master/map_publisher.h"
#include "master/mover.h"
#include "master/name_gate.h"
#include "master/observe/observation.h"
#include "master/quotas.h"
#include "master/replica.h"
#include "master/sessions.h"
#include "master/slots_under_way.h"
#include "master/space.h"

namespace cairn {

struct Core {
  Clock& clock;
  Replica& replica;
  const ClusterFile& cluster;
  const std::string name;     // of this master
  const std::string version;  // of this program
  MapPublisher& publisher;
  Chunkservers& chunkservers;
  Cleanup& cleanup;
  Mover& mover;
  Sessions& sessions;
  NameGate& names;
  LockQueue& locks;
  OwnSpace& ownSpace;
  Quotas& quotas;
  CapsuleShipper& capsules;
  Observation& observation;
  SlotsUnderWay& underWay;
  CertificateAuthority* authority;  // null: the cluster has no certificates
};

class Lifeline final : public kj::Refcounted {
 public:
  explicit Lifeline(Core& core) : core_(&core) {}

  // nullptr once the master is going.
  Core* core() { return core_; }
  // Runs a service's method, cancelled when the master goes. Throws DISCONNECTED when it has gone.
  template <typename Method>
  kj::Promise<void> run(Method&& method) {
    KJ_IF_MAYBE (gone, goneError()) {
      return kj::mv(*gone);
    }
    kj::Promise<void> promise = method(*core_);
    return canceler_.wrap(kj::mv(promise));
  }
  void cut() {
    core_ = nullptr;
    canceler_.cancel(KJ_EXCEPTION(DISCONNECTED, "this master is stopping"));
  }

 private:
  kj::Maybe<kj::Exception> goneError() {
    if (core_ == nullptr) {
      return KJ_EXCEPTION(DISCONNECTED, "this master is stopping");
    }
    return nullptr;
  }

  Core* core_;
  kj::Canceler canceler_;
};

// For what a client may be told when an entry wasn't written. EBUSY is worth another try at once; after EIO nobody
// knows, so the caller must ask again over a new link.
[[noreturn]] inline void throwUnwritten(const Error& error) {
  if (error.code == EBUSY) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many changes wait for the log", error.why));
  }
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the log can't be written", error.why));
}

inline void setOutcome(const Status& status, wire::Outcome::Builder out) {
  out.setErrno(status.code());
  if (!status.ok()) {
    out.setWhy(status.error().why);
  }
}

}  // namespace cairn
