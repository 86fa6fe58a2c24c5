#include "common/system/workers.h"

#include <kj/debug.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace cairn {

namespace {

struct Queued {
  kj::Function<void()> job;
  kj::Own<kj::CrossThreadPromiseFulfiller<void>> fulfiller;
};

// Not bounded itself: each caller bounds what it has under way (one sync a file, reads per client).
class SystemWorkers final : public Workers {
 public:
  explicit SystemWorkers(unsigned threads) {
    KJ_REQUIRE(threads > 0);
    for (unsigned i = 0; i < threads; i++) {
      threads_.emplace_back([this] { work(); });
    }
  }

  ~SystemWorkers() noexcept(false) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) {
      thread.join();
    }
  }

  kj::Promise<void> run(kj::Function<void()> job) override {
    auto pair = kj::newPromiseAndCrossThreadFulfiller<void>();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(Queued{kj::mv(job), kj::mv(pair.fulfiller)});
    }
    wake_.notify_one();
    return kj::mv(pair.promise);
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) {
        return;
      }
      Queued next = kj::mv(queue_.front());
      queue_.pop_front();
      lock.unlock();
      runOne(kj::mv(next));
      lock.lock();
    }
  }

  static void runOne(Queued next) {
    auto failure = kj::runCatchingExceptions([&] {
      auto job = kj::mv(next.job);
      job();
    });
    KJ_IF_MAYBE (e, failure) {
      next.fulfiller->reject(kj::mv(*e));
    } else {
      next.fulfiller->fulfill();
    }
  }

  std::mutex mutex_;  // guards queue_ and stopping_
  std::condition_variable wake_;
  std::deque<Queued> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

kj::Own<Workers> newSystemWorkers(unsigned threads) {
  return kj::heap<SystemWorkers>(threads);
}

}  // namespace cairn
