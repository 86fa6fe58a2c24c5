// The thread on which simulated LevelDBs compact.
//
// LevelDB calls Schedule() under its mutex, so the work can't run inline; and it sometimes waits for that work, so
// the work can't just be put off. Work begins only when the simulation is at rest (settle(), called by the World
// between turns), or when the simulation's thread itself is blocked, which then can only mean that LevelDB waits.
// So the two never run at the same time by accident, and a seed gives the same run each time.
#pragma once
#include <sys/types.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace cairn {

class SimBackground {
 public:
  // Made on the simulation's thread.
  SimBackground();
  ~SimBackground();

  // From any thread.
  void schedule(void (*function)(void* argument), void* argument);
  // Runs all that is scheduled and returns when nothing is left. Only from the simulation's thread.
  void settle();

 private:
  struct Work {
    void (*function)(void* argument);
    void* argument;
  };

  void run();
  void awaitTurn(std::unique_lock<std::mutex>& lock);
  bool simulationBlocked() const;

  const pid_t simulation_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Work> queue_;
  bool open_ = false;
  bool running_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cairn
