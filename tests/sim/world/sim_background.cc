#include "tests/sim/world/sim_background.h"

#include <kj/debug.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>

namespace cairn {

namespace {

// Real time between two looks at the simulation's thread. Affects speed only.
constexpr std::chrono::microseconds LOOK_EVERY{100};

}  // namespace

SimBackground::SimBackground() : simulation_(gettid()), thread_([this] { run(); }) {}

SimBackground::~SimBackground() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SimBackground::schedule(void (*function)(void* argument), void* argument) {
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(Work{function, argument});
  changed_.notify_all();
}

void SimBackground::settle() {
  std::unique_lock<std::mutex> lock(mutex_);
  KJ_REQUIRE(gettid() == simulation_);
  if (queue_.empty() && !running_) {
    return;
  }
  open_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return queue_.empty() && !running_; });
  open_ = false;
}

// The third field of the thread's stat: R while it runs or waits for a processor, S while it waits for something else.
bool SimBackground::simulationBlocked() const {
  std::ifstream in("/proc/self/task/" + std::to_string(simulation_) + "/stat");
  std::string text;
  std::getline(in, text);
  size_t end = text.rfind(") ");
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] == 'S';
}

// Twice in a row: a thread that is passed a mutex looks blocked for a moment.
void SimBackground::awaitTurn(std::unique_lock<std::mutex>& lock) {
  for (unsigned blocked = 0; !open_ && blocked < 2;) {
    if (changed_.wait_for(lock, LOOK_EVERY) == std::cv_status::timeout) {
      blocked = simulationBlocked() ? blocked + 1 : 0;
    }
  }
}

void SimBackground::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) {
      return;
    }
    awaitTurn(lock);
    Work work = queue_.front();
    queue_.pop_front();
    running_ = true;
    lock.unlock();
    work.function(work.argument);
    lock.lock();
    running_ = false;
    changed_.notify_all();
  }
}

}  // namespace cairn
