// Signal: lets tasks sleep until something has changed. A sleeper checks its condition in a loop.
#pragma once
#include <kj/async.h>

namespace cairn {

class Signal {
 public:
  Signal() { reset(); }
  KJ_DISALLOW_COPY(Signal);

  // Resolves at the next raise().
  kj::Promise<void> wait() {
    waited_ = true;
    return promise_.addBranch();
  }
  // Wakes all who wait now.
  void raise() {
    if (!waited_) {
      return;
    }
    auto fulfiller = kj::mv(fulfiller_);
    reset();
    fulfiller->fulfill();
  }

 private:
  void reset() {
    auto paf = kj::newPromiseAndFulfiller<void>();
    promise_ = paf.promise.fork();
    fulfiller_ = kj::mv(paf.fulfiller);
    waited_ = false;
  }

  kj::ForkedPromise<void> promise_ = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> fulfiller_;
  bool waited_ = false;
};

}  // namespace cairn
