#include "common/workers.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "common/system/workers.h"
#include "tests/sim/world/world.h"

namespace cairn {
namespace {

TEST(SystemWorkers, RunElsewhereAndComeBackHere) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(2);
  auto here = std::this_thread::get_id();
  std::thread::id jobRan, continued;
  auto job = [&jobRan] { jobRan = std::this_thread::get_id(); };
  auto after = [&continued] { continued = std::this_thread::get_id(); };
  workers->run(kj::mv(job)).then(kj::mv(after)).wait(io.waitScope);
  EXPECT_NE(jobRan, here);
  EXPECT_EQ(continued, here);
}

TEST(SystemWorkers, CarryExceptions) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(1);
  auto failure = kj::runCatchingExceptions(
      [&] { workers->run([] { KJ_FAIL_REQUIRE("the disk is on fire"); }).wait(io.waitScope); });
  KJ_IF_MAYBE (e, failure) {
    EXPECT_NE(std::string(e->getDescription().cStr()).find("on fire"), std::string::npos);
  } else {
    FAIL() << "the exception is lost";
  }
  workers->run([] {}).wait(io.waitScope);  // the thread lives on
}

TEST(SystemWorkers, UseAllTheirThreads) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(3);
  std::mutex mutex;
  std::condition_variable changed;
  unsigned inside = 0;
  // Ends only if three run at the same time.
  auto meet = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    inside++;
    changed.notify_all();
    changed.wait(lock, [&] { return inside == 3; });
  };
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(3);
  for (int i = 0; i < 3; i++) {
    auto copy = meet;
    promises.add(workers->run(kj::mv(copy)));
  }
  kj::joinPromises(promises.finish()).wait(io.waitScope);
  EXPECT_EQ(inside, 3u);
}

TEST(SystemWorkers, ManyJobsFromOneTurn) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(4);
  constexpr int JOBS = 5000;
  std::atomic<int> ran{0};
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(JOBS);
  for (int i = 0; i < JOBS; i++) {
    promises.add(workers->run([&ran] { ran++; }));
  }
  kj::joinPromises(promises.finish()).wait(io.waitScope);
  EXPECT_EQ(ran, JOBS);
}

TEST(SystemWorkers, EndWithJobsQueuedAndPromisesDropped) {
  auto io = kj::setupAsyncIo();
  std::atomic<int> ran{0};
  kj::Promise<void> kept = nullptr;
  {
    auto workers = newSystemWorkers(2);
    for (int i = 0; i < 200; i++) {
      kept = workers->run([&ran] { ran++; });  // drops the one before
    }
  }
  int atEnd = ran;
  EXPECT_LE(atEnd, 200);
  // The last job has run or its promise fails; it never hangs.
  auto failure = kj::runCatchingExceptions([&] { kept.wait(io.waitScope); });
  EXPECT_EQ(failure == nullptr, atEnd == 200);
}

TEST(SystemWorkers, DestroyAJobBeforeItsPromiseResolves) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(1);
  struct Flag {
    explicit Flag(std::atomic<bool>& gone) : gone(&gone) {}
    Flag(Flag&& other) : gone(other.gone) { other.gone = nullptr; }
    ~Flag() {
      if (gone != nullptr) {
        *gone = true;
      }
    }
    std::atomic<bool>* gone;
  };
  std::atomic<bool> gone{false};
  auto job = [flag = Flag(gone)] {};
  workers->run(kj::mv(job)).wait(io.waitScope);
  EXPECT_TRUE(gone);
}

TEST(OrderedWorker, KeepsTheOrderOnManyThreads) {
  auto io = kj::setupAsyncIo();
  auto workers = newSystemWorkers(4);
  OrderedWorker ordered(*workers);
  std::vector<int> seen;  // no lock: one job at a time, each after the one before
  auto promises = kj::heapArrayBuilder<kj::Promise<void>>(500);
  for (int i = 0; i < 500; i++) {
    promises.add(ordered.run([&seen, i] { seen.push_back(i); }));
  }
  kj::joinPromises(promises.finish()).wait(io.waitScope);
  ASSERT_EQ(seen.size(), 500u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(OrderedWorker, GoesOnAfterAFailureAndADroppedPromise) {
  World world(1);
  auto workers = world.newWorkers("w");
  OrderedWorker ordered(*workers);
  std::vector<int> seen;
  auto failing = ordered.run([&seen] {
    seen.push_back(1);
    KJ_FAIL_REQUIRE("no");
  });
  {
    auto dropped = ordered.run([&seen] { seen.push_back(2); });
  }
  auto last = ordered.run([&seen] { seen.push_back(3); });
  world.await(kj::mv(last), SECOND);
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
  EXPECT_ANY_THROW(world.await(kj::mv(failing), SECOND));
}

TEST(SimWorkers, RunLaterEvenIfThePromiseIsDropped) {
  World world(1);
  auto workers = world.newWorkers("w");
  int ran = 0;
  {
    auto dropped = workers->run([&ran] { ran++; });
  }
  EXPECT_EQ(ran, 0);
  world.runFor(SimWorkers::DELAY_MAX);
  EXPECT_EQ(ran, 1);
}

TEST(SimWorkers, DieWithTheirProcess) {
  World world(1);
  auto workers = world.newWorkers("w");
  int ran = 0;
  auto promise = workers->run([&ran] { ran++; });
  workers = nullptr;
  world.runFor(SECOND);
  EXPECT_EQ(ran, 0);
}

}  // namespace
}  // namespace cairn
