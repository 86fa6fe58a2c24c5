// Workers: the seam to threads. Runs what blocks (fsync, cold reads, LevelDB) off the event loop.
// Production: a few threads (common/system/workers.cc). Simulation: inline at a later turn.
#pragma once
#include <kj/async.h>
#include <kj/function.h>

namespace cairn {

class Workers {
 public:
  virtual ~Workers() noexcept(false) = default;

  // Runs `job` on some worker; the promise resolves on the calling loop, with the job's exception
  // if it threw. Dropping the promise does not stop a job that has begun: `job` must own what it uses.
  virtual kj::Promise<void> run(kj::Function<void()> job) = 0;
};

// Runs jobs one after another in the order of the calls, each on `workers`.
class OrderedWorker {
 public:
  explicit OrderedWorker(Workers& workers) : workers_(workers), tail_(kj::Promise<void>(kj::READY_NOW).fork()) {}
  kj::Promise<void> run(kj::Function<void()> job);

 private:
  Workers& workers_;
  kj::ForkedPromise<void> tail_;
};

}  // namespace cairn
