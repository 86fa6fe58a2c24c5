// SlotsUnderWay: which requests of clients this leader is at work on. A client whose link broke sends its request once
// more. What was carried out before, or is being carried out for the broken link, can be answered from the log alone:
// refused at the door it would count as not done, and what it brought (a grant of bytes, a new name) would be nobody's.
#pragma once
#include <compare>
#include <set>

#include "common/ids.h"
#include "master/namespace/reader.h"

namespace cairn {

struct SlotRequest {
  SessionId session{};
  uint8_t slot = 0;
  uint64_t sequence = 0;
  auto operator<=>(const SlotRequest&) const = default;
};

class SlotsUnderWay {
 public:
  // A call is at work on it as long as this lives.
  class Pass {
   public:
    Pass(SlotsUnderWay& all, const SlotRequest& request)
        : request_(request), all_(all), alone_(!all.requests_.contains(request)), at_(all.requests_.insert(request)) {}
    ~Pass() noexcept(false) { all_.requests_.erase(at_); }
    KJ_DISALLOW_COPY(Pass);

    // Nothing has come of it, nor will anything by an earlier call.
    bool isNew(const NamespaceReader& reader) const {
      return alone_ && reader.lastSequence(request_.session, request_.slot) < request_.sequence;
    }

   private:
    const SlotRequest request_;
    SlotsUnderWay& all_;
    const bool alone_;
    const std::multiset<SlotRequest>::iterator at_;
  };

 private:
  std::multiset<SlotRequest> requests_;
};

}  // namespace cairn
