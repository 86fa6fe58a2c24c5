#include "tests/sim/world/world.h"

#include <kj/debug.h>

namespace cairn {

World::World(uint64_t seed) : seed_(seed), waitScope_(loop_), network_(clock_, trace_, seed) {}

World::~World() noexcept(false) = default;

SimVolume& World::volume(const std::string& name, SimVolumeOptions options) {
  std::lock_guard<std::mutex> guard(mutex_);
  auto& slot = volumes_[name];
  if (slot.get() == nullptr) {
    slot = kj::heap<SimVolume>(name, clock_, trace_, seed_, options);
  }
  return *slot;
}

SimVolume* World::find(const std::string& hostPath) {
  std::lock_guard<std::mutex> guard(mutex_);
  for (auto& [name, volume] : volumes_) {
    std::string root = volume->hostPath("");
    if (hostPath == root || hostPath.rfind(root + "/", 0) == 0) {
      return volume.get();
    }
  }
  return nullptr;
}

kj::Own<SimWorkers> World::newWorkers(const std::string& process) {
  return kj::heap<SimWorkers>(clock_, hash64(process, seed_));
}

std::unique_ptr<leveldb::Env> World::newEnv() {
  return std::make_unique<SimEnv>([this](const std::string& path) { return find(path); }, background_);
}

// LevelDB's background work wakes nobody on the loop, so after it the loop is still at rest.
void World::rest() {
  waitScope_.poll();
  background_.settle();
  if (watcher_) {
    watcher_();
  }
}

World::Step World::advance(kj::TimePoint deadline) {
  auto& timer = clock_.impl();
  KJ_IF_MAYBE (next, timer.nextEvent()) {
    if (*next > deadline) {
      timer.advanceTo(deadline);
      return Step::LATE;
    }
    timer.advanceTo(*next);
    return Step::MOVED;
  }
  return Step::STUCK;
}

kj::TimePoint World::deadlineIn(Nanos limit) {
  return clock_.impl().now() + limit * kj::NANOSECONDS;
}

void World::stuck(const char* waitingFor) {
  kj::throwFatalException(
      KJ_EXCEPTION(FAILED, "deadlock: nothing can run and no timer is set", waitingFor, clock_.monotonic(), seed_));
}

bool World::runUntil(const std::function<bool()>& predicate, Nanos limit) {
  auto deadline = deadlineIn(limit);
  for (;;) {
    rest();
    if (predicate()) {
      return true;
    }
    switch (advance(deadline)) {
      case Step::MOVED:
        break;
      case Step::LATE:
        return false;
      case Step::STUCK:
        stuck("a condition");
    }
  }
}

// Unlike the others, content when nothing is left to happen.
void World::runFor(Nanos time) {
  auto deadline = deadlineIn(time);
  rest();
  while (advance(deadline) == Step::MOVED) {
    rest();
  }
  rest();
  clock_.impl().advanceTo(deadline);
}

}  // namespace cairn
