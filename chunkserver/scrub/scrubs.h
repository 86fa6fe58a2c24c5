// Scrubs: the scrubbers of all volumes of this server.
#pragma once
#include <kj/async.h>

#include <vector>

#include "chunkserver/scrub/scrubber.h"

namespace cairn {

class Scrubs final : private kj::TaskSet::ErrorHandler {
 public:
  Scrubs(Clock& clock, Replicator& replicator, const std::vector<LocalVolume*>& volumes, Nanos period);
  ~Scrubs() noexcept(false);
  KJ_DISALLOW_COPY(Scrubs);

  void startNow();
  void setPeriod(Nanos period);
  uint32_t count() const { return static_cast<uint32_t>(scrubbers_.size()); }
  void fill(capnp::List<wire::ScrubState>::Builder out) const;

 private:
  void taskFailed(kj::Exception&& e) override;

  std::vector<kj::Own<Scrubber>> scrubbers_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
