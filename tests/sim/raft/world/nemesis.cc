#include "tests/sim/raft/world/nemesis.h"

namespace cairn::raft {

namespace {

// How often each comes, beside the others.
constexpr unsigned WEIGHTS[] = {12, 20, 10, 8, 6, 6, 25, 8, 6, 5, 4, 5, 2, 1};
static_assert(sizeof(WEIGHTS) / sizeof(WEIGHTS[0]) == Nemesis::FAULT_COUNT);

}  // namespace

void Nemesis::act() {
  unsigned total = 0;
  for (auto weight : WEIGHTS) {
    total += weight;
  }
  auto draw = cluster_.random().below(total);
  size_t fault = 0;
  while (draw >= WEIGHTS[fault]) {
    draw -= WEIGHTS[fault++];
  }
  auto chosen = [this] {
    auto at = cluster_.nodes().begin();
    std::advance(at, cluster_.random().below(cluster_.nodes().size()));
    return at->first;
  };
  MemberId who = chosen();
  MemberId other = chosen();
  act(static_cast<Fault>(fault), who, other);
}

void Nemesis::act(Fault fault, MemberId who, MemberId other) {
  auto& node = cluster_.nodes().at(who);
  bool running = node.member->running();
  counts_[fault]++;
  switch (fault) {
    case CRASH:
      running ? cluster_.crash(who) : cluster_.start(who);
      break;
    case RESTART:
      restartAll();
      break;
    case PAUSE:
      cluster_.pause(who, upTo(5 * SECOND));
      break;
    case LONG_STOP:
      cluster_.pause(who, upTo(180 * SECOND));
      break;
    case PARTITION:
      partition();
      break;
    case ONE_WAY:
      cluster_.cut(who, other);
      break;
    case PARTIAL:
      cluster_.cut(who, other);
      cluster_.cut(other, who);
      break;
    case HEAL:
      cluster_.healNetwork();
      break;
    case WEATHER:
      changeWeather();
      break;
    case SLOW_DISK:
      node.diskSlowness = node.diskSlowness > 1 ? 1 : 100;
      break;
    case STALLED_DISK:
      cluster_.stallDisk(who, upTo(20 * SECOND));
      break;
    case FULL_DISK:
      cluster_.stallDisk(who, upTo(60 * SECOND));
      break;
    case ROT:
      rot(who);
      break;
    case POWER_CUT:
      for (auto id : cluster_.runningMembers()) {
        cluster_.crash(id);
      }
      break;
  }
}

// Two groups that don't hear each other.
void Nemesis::partition() {
  std::map<MemberId, bool> side;
  for (const auto& [id, node] : cluster_.nodes()) {
    side[id] = cluster_.random().below(2) == 0;
  }
  for (const auto& [a, sideA] : side) {
    for (const auto& [b, sideB] : side) {
      if (sideA != sideB) {
        cluster_.cut(a, b);
      }
    }
  }
}

void Nemesis::changeWeather() {
  auto& weather = cluster_.weather();
  auto& random = cluster_.random();
  weather = Weather();
  if (random.below(3) > 0) {
    weather.delayMax = random.between(weather.delayMax, 200 * MILLISECOND);
    weather.lossPerMillion = random.below(3) == 0 ? random.below(300'000) : random.below(10'000);
    weather.doublePerMillion = random.below(50'000);
    weather.latePerMillion = random.below(5'000);
    weather.inOrder = random.below(3) > 0;
  }
}

void Nemesis::restartAll() {
  for (auto& [id, node] : cluster_.nodes()) {
    if (!node.member->running()) {
      cluster_.start(id);
    }
  }
}

// The others must not be damaged as well, and must be a majority without this one: only they know what it lost.
void Nemesis::rot(MemberId who) {
  for (auto& [id, node] : cluster_.nodes()) {
    bool lost = id != who && node.member->disk().damaged();
    size_t voters = node.member->disk().membership().voterCount();
    if (lost || voters == 1 || voters == 2) {
      return;
    }
  }
  auto& member = cluster_.member(who);
  if (member.running()) {
    cluster_.crash(who);
  }
  auto& disk = member.disk();
  if (disk.last() > disk.base()) {
    uint64_t entries = raw(disk.last()) - raw(disk.base());
    uint64_t depth =
        cluster_.random().below(cluster_.random().below(4) == 0 ? entries : std::min<uint64_t>(entries, 8));
    disk.rot(LogIndex{raw(disk.last()) - depth});
  }
}

void Nemesis::mendAll() {
  cluster_.healNetwork();
  cluster_.weather() = Weather();
  for (auto& [id, node] : cluster_.nodes()) {
    bool stuck = node.pausedUntil > cluster_.now() || node.diskUntil > cluster_.now();
    if (stuck && node.member->running()) {
      cluster_.crash(id);
    }
    node.pausedUntil = 0;
    node.diskUntil = 0;
    node.diskSlowness = 1;
  }
  restartAll();
}

}  // namespace cairn::raft
