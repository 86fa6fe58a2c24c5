// Workers without threads: a job runs on the event loop, a short virtual time after the call. One instance
// for each simulated process: its destructor drops the jobs that have not run.
#pragma once
#include "common/clock.h"
#include "common/workers.h"
#include "tests/sim/world/sim_random.h"

namespace cairn {

class SimWorkers final : public Workers, private kj::TaskSet::ErrorHandler {
 public:
  static constexpr Nanos DELAY_MAX = 50 * MICROSECOND;

  SimWorkers(Clock& clock, uint64_t seed) : clock_(clock), random_(seed, "workers"), tasks_(*this) {}

  // Like a thread, a job runs even if its promise is dropped.
  kj::Promise<void> run(kj::Function<void()> job) override {
    auto pair = kj::newPromiseAndFulfiller<void>();
    auto perform = [job = kj::mv(job), fulfiller = kj::mv(pair.fulfiller)]() mutable {
      auto failure = kj::runCatchingExceptions([&job] {
        auto once = kj::mv(job);
        once();
      });
      KJ_IF_MAYBE (e, failure) {
        fulfiller->reject(kj::mv(*e));
      } else {
        fulfiller->fulfill();
      }
    };
    tasks_.add(clock_.after(random_.between(0, DELAY_MAX)).then(kj::mv(perform)));
    return kj::mv(pair.promise);
  }

 private:
  void taskFailed(kj::Exception&& e) override { kj::throwFatalException(kj::mv(e)); }

  Clock& clock_;
  SimRandom random_;
  kj::TaskSet tasks_;
};

}  // namespace cairn
