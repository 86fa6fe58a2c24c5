#include "common/workers.h"

namespace cairn {

kj::Promise<void> OrderedWorker::run(kj::Function<void()> job) {
  Workers& workers = workers_;
  auto begin = [&workers, job = kj::mv(job)]() mutable { return workers.run(kj::mv(job)); };
  auto done = tail_.addBranch().then(kj::mv(begin)).fork();
  // A failed job is its caller's concern: the ones behind it run all the same.
  tail_ = done.addBranch().catch_([](kj::Exception&&) {}).fork();
  return done.addBranch();
}

}  // namespace cairn
