// Wakeup: "something changed, look again". Waiters are woken in the order in which they came.
// Permits: at most so many at a time.
#pragma once
#include <kj/async.h>

#include <deque>
#include <vector>

#include "common/clock.h"

namespace cairn {

// Resolves when everything that is ready now has run.
inline kj::Promise<void> nextTurn() {
  return kj::evalLast([]() {});
}

class Wakeup {
 public:
  // Resolves at the next raise().
  kj::Promise<void> next() {
    auto paf = kj::newPromiseAndFulfiller<void>();
    waiters_.push_back(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }
  // The same, or when `deadline` (on clock.monotonic()) has passed.
  kj::Promise<void> nextOr(Clock& clock, Nanos deadline) {
    Nanos left = deadline - clock.monotonic();
    if (left <= 0) {
      return kj::READY_NOW;
    }
    return next().exclusiveJoin(clock.after(left));
  }
  void raise() {
    auto woken = kj::mv(waiters_);
    waiters_.clear();
    for (auto& waiter : woken) {
      waiter->fulfill();
    }
  }

 private:
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters_;
};

// Held while one of the permits is taken; given back by the destructor. The Permits must outlive it.
class Permits;
class Permit {
 public:
  explicit Permit(Permits& permits) : permits_(&permits) {}
  Permit(Permit&& other) noexcept : permits_(other.permits_) { other.permits_ = nullptr; }
  Permit& operator=(Permit&&) = delete;
  inline ~Permit() noexcept;

 private:
  Permits* permits_;
};

class Permits {
 public:
  explicit Permits(uint32_t count) : free_(count) {}
  kj::Promise<Permit> take() {
    if (free_ > 0) {
      --free_;
      return Permit(*this);
    }
    auto paf = kj::newPromiseAndFulfiller<Permit>();
    waiters_.push_back(kj::mv(paf.fulfiller));
    return kj::mv(paf.promise);
  }

 private:
  friend class Permit;
  void giveBack() {
    while (!waiters_.empty()) {
      auto waiter = kj::mv(waiters_.front());
      waiters_.pop_front();
      if (waiter->isWaiting()) {
        waiter->fulfill(Permit(*this));
        return;
      }
    }
    ++free_;
  }

  uint32_t free_;
  std::deque<kj::Own<kj::PromiseFulfiller<Permit>>> waiters_;
};

inline Permit::~Permit() noexcept {
  if (permits_ != nullptr) {
    permits_->giveBack();
  }
}

}  // namespace cairn
