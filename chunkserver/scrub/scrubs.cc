#include "chunkserver/scrub/scrubs.h"

#include "common/log.h"

namespace cairn {

Scrubs::Scrubs(Clock& clock, Replicator& replicator, const std::vector<LocalVolume*>& volumes, Nanos period)
    : tasks_(*this) {
  for (LocalVolume* volume : volumes) {
    scrubbers_.push_back(kj::heap<Scrubber>(clock, replicator, *volume, period));
    tasks_.add(scrubbers_.back()->run().promise());
    tasks_.add(scrubbers_.back()->mendLeftovers().promise());
  }
}

Scrubs::~Scrubs() noexcept(false) = default;

void Scrubs::taskFailed(kj::Exception&& e) {
  spdlog::error("a scrub ended: {}", kj::str(e).cStr());
}

void Scrubs::startNow() {
  for (auto& scrubber : scrubbers_) {
    scrubber->startNow();
  }
}

void Scrubs::setPeriod(Nanos period) {
  for (auto& scrubber : scrubbers_) {
    scrubber->setPeriod(period);
  }
}

void Scrubs::fill(capnp::List<wire::ScrubState>::Builder out) const {
  for (uint32_t i = 0; i < scrubbers_.size(); ++i) {
    scrubbers_[i]->fill(out[i]);
  }
}

}  // namespace cairn
