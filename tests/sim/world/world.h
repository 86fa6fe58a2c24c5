// A simulated world: one thread, one event loop, virtual time, a seed. Holds the simulated side of every seam; tests
// build whole clusters in it from the real daemons' classes.
//
//   World world(seed);
//   auto disk = world.volume("c1").open();
//   auto reply = world.await(client.stat("/a"), 5 * SECOND);
//   EXPECT_EQ(first.traceHash(), second.traceHash());       // equal seeds, equal worlds
//
// Everything made with it must be destroyed before it.
#pragma once
#include <kj/async.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/sim/world/sim_background.h"
#include "tests/sim/world/sim_clock.h"
#include "tests/sim/world/sim_env.h"
#include "tests/sim/world/sim_network.h"
#include "tests/sim/world/sim_random.h"
#include "tests/sim/world/sim_trace.h"
#include "tests/sim/world/sim_volume.h"
#include "tests/sim/world/sim_workers.h"

namespace cairn {

class World {
 public:
  explicit World(uint64_t seed);
  ~World() noexcept(false);

  uint64_t seed() const { return seed_; }
  kj::WaitScope& waitScope() { return waitScope_; }
  SimClock& clock() { return clock_; }
  SimNetwork& network() { return network_; }
  SimTrace& trace() { return trace_; }
  uint64_t traceHash() const { return trace_.hash(); }
  void note(const std::string& event) { trace_.note(clock_.monotonic(), event); }

  // A stream of chance of its own for each user.
  kj::Own<SimRandom> random(const std::string& user) const { return kj::heap<SimRandom>(seed_, user); }
  // The volume of that name, made at its first mention; `options` count only then.
  SimVolume& volume(const std::string& name, SimVolumeOptions options = {});
  // For one simulated process each; its name chooses its luck.
  kj::Own<SimWorkers> newWorkers(const std::string& process);
  std::unique_ptr<leveldb::Env> newEnv();

  // Called at every rest, so between any two moments of virtual time; may throw. Nothing: nobody is.
  void watch(std::function<void()> watcher) { watcher_ = std::move(watcher); }

  // Runs until `predicate` holds, asking at every rest; false when `limit` has passed. If nothing can run and
  // no timer is set nothing can ever change: that is an exception which says so.
  bool runUntil(const std::function<bool()>& predicate, Nanos limit);
  void runFor(Nanos time);
  // The promise's value; its exception; or an exception when it isn't there within `limit`.
  template <typename T>
  T await(kj::Promise<T> promise, Nanos limit);
  template <typename T>
  T await(Task<T> task, Nanos limit) {
    return await(kj::mv(task).promise(), limit);
  }

 private:
  enum class Step { MOVED, LATE, STUCK };
  // Runs what can run, then moves time to the next timer, at most to `deadline`.
  void rest();
  Step advance(kj::TimePoint deadline);
  kj::TimePoint deadlineIn(Nanos limit);
  [[noreturn]] void stuck(const char* waitingFor);
  SimVolume* find(const std::string& hostPath);

  const uint64_t seed_;
  kj::EventLoop loop_;
  kj::WaitScope waitScope_;
  SimTrace trace_;
  SimClock clock_;
  SimBackground background_;
  SimNetwork network_;
  std::function<void()> watcher_;
  std::mutex mutex_;  // guards volumes_: LevelDB's thread looks volumes up
  std::map<std::string, kj::Own<SimVolume>> volumes_;
};

template <typename T>
T World::await(kj::Promise<T> promise, Nanos limit) {
  auto deadline = deadlineIn(limit);
  for (;;) {
    if (promise.poll(waitScope_)) {
      return promise.wait(waitScope_);
    }
    rest();
    if (promise.poll(waitScope_)) {
      return promise.wait(waitScope_);
    }
    switch (advance(deadline)) {
      case Step::MOVED:
        break;
      case Step::LATE:
        kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "not done within the time given", limit, seed_));
      case Step::STUCK:
        stuck("a promise");
    }
  }
}

}  // namespace cairn
