// CapsuleKeeper: keeps copies of the masters' state on the volumes of this server, for the master that leads. Every
// volume gets one: any disk that is left must do.
#pragma once
#include <string>
#include <vector>

#include "chunkserver/capsule/capsule_shelf.h"
#include "chunkserver/service_gate.h"
#include "schema/capsule.capnp.h"

namespace cairn {

struct CapsulePlace {
  std::string path;  // for messages
  Disk* disk = nullptr;
};

class CapsuleKeeper {
 public:
  CapsuleKeeper(ClusterId cluster, std::vector<CapsulePlace> places);
  KJ_DISALLOW_COPY(CapsuleKeeper);

  using StateContext = capnp::CallContext<wire::CapsuleKeeper::StateParams, wire::CapsuleKeeper::StateResults>;
  using PutContext = capnp::CallContext<wire::CapsuleKeeper::PutParams, wire::CapsuleKeeper::PutResults>;
  using AppendContext = capnp::CallContext<wire::CapsuleKeeper::AppendParams, wire::CapsuleKeeper::AppendResults>;
  Task<void> state(StateContext context);
  Task<void> put(PutContext context);
  Task<void> append(AppendContext context);

 private:
  struct Place {
    std::string path;
    kj::Own<CapsuleShelf> shelf;
  };

  Result<Frame> check(kj::ArrayPtr<const kj::byte> bytes, bool tail) const;
  Task<void> openAll();
  Task<Status> putEverywhere(Frame frame, kj::ArrayPtr<const kj::byte> bytes);
  Task<Status> appendEverywhere(Frame frame, kj::ArrayPtr<const kj::byte> bytes);
  void note(Place& place, const Status& status);
  CapsuleShelf::State best() const;

  const ClusterId cluster_;
  std::vector<Place> places_;
  bool busy_ = false;  // one call at a time; another comes from a master that leads no longer
};

wire::CapsuleKeeper::Client newCapsuleKeeper(ServiceGate& gate, CapsuleKeeper& keeper);

}  // namespace cairn
