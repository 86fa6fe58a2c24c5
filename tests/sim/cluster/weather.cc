#include "tests/sim/cluster/weather.h"

namespace cairn {
namespace {

// A twentieth of it, which the chunkserver reserves, has room for what the index writes meanwhile.
constexpr uint64_t TIGHT_DISK_BYTES = 1200 << 20;

}  // namespace

Weather::Weather(SimCluster& cluster, std::vector<std::string> clients)
    : cluster_(cluster),
      rough_((cluster.world().seed() & ROUGH) != 0),
      tight_((cluster.world().seed() & TIGHT) != 0),
      random_(cluster.world().random("weather")),
      servers_(cluster.servers()),
      masters_(cluster.masters()),
      hosts_(std::move(clients)),
      gapMax_(random_->between(GAP_MAX_LEAST, GAP_MAX_MOST)) {
  hosts_.insert(hosts_.end(), servers_.begin(), servers_.end());
  hosts_.insert(hosts_.end(), masters_.begin(), masters_.end());
}

void Weather::later(Repair repair) {
  Nanos limit = random_->below(8) == 0 ? LONG_SPELL_MAX : SPELL_MAX;
  repairs_.emplace(cluster_.world().clock().monotonic() + random_->between(MILLISECOND, limit), std::move(repair));
}

void Weather::repairDue() {
  while (!repairs_.empty() && repairs_.begin()->first <= cluster_.world().clock().monotonic()) {
    Repair repair = std::move(repairs_.begin()->second);
    repairs_.erase(repairs_.begin());
    repair();
  }
}

void Weather::blow(Nanos time, const std::function<void()>& everyStep) {
  World& world = cluster_.world();
  const Nanos end = world.clock().monotonic() + time;
  Nanos next = world.clock().monotonic();
  while (world.clock().monotonic() < end) {
    Nanos now = world.clock().monotonic();
    if (now >= next) {
      strike();
      next = now + random_->between(GAP_MIN, gapMax_);
    }
    Nanos until = kj::min(next, end);
    if (!repairs_.empty()) {
      until = kj::min(until, repairs_.begin()->first);
    }
    world.runFor(kj::max(until - now, MILLISECOND));
    repairDue();
    cluster_.requireAlive();
    everyStep();
  }
}

void Weather::calm() {
  cluster_.network().healAll();
  for (auto& [when, repair] : repairs_) {
    repair();
  }
  repairs_.clear();
}

void Weather::takeDown(const std::string& host, bool power) {
  if (!cluster_.isUp(host)) {
    return;
  }
  if (power) {
    cluster_.powerCut(host);
  } else {
    cluster_.crash(host);
  }
  later([this, host] { cluster_.restart(host); });
}

void Weather::takeAllDown() {
  bool power = random_->below(4) != 0;
  for (auto& server : servers_) {
    takeDown(server, power);
  }
  if (random_->below(2) == 0) {
    for (auto& master : masters_) {
      takeDown(master, power);
    }
  }
}

void Weather::cutOff() {
  std::string a = anyHost();
  std::string b = anyHost();
  auto& network = cluster_.network();
  switch (random_->below(4)) {
    case 0:
      network.isolate(a);
      later([&network, a] { network.rejoin(a); });
      break;
    case 1:
      network.partitionOneWay(a, b);
      later([&network, a, b] { network.heal(a, b); });
      break;
    case 2:
      network.partition(a, b);
      later([&network, a, b] { network.heal(a, b); });
      break;
    default:
      network.reset(a, b);
      break;
  }
}

void Weather::strikeRoughly() {
  std::string a = anyHost();
  std::string b = anyHost();
  auto& network = cluster_.network();
  if (random_->below(4) == 0) {
    cluster_.world().clock().stepWall(random_->between(-CLOCK_STEP_MAX, CLOCK_STEP_MAX));
    return;
  }
  Nanos most = random_->between(MILLISECOND, SLOW_DELAY_MAX);
  network.setDelay(a, b, {most / 2, most});
  later([&network, a, b] { network.setDelay(a, b, SimDelay()); });
}

// Leaves little room beyond what the chunkserver reserves for itself.
void Weather::fillDisk(const std::string& server) {
  SimVolume& volume = cluster_.world().volume(server);
  uint64_t room = volume.usedBytes() + random_->below(TIGHT_ROOM_MAX);
  volume.setCapacity(TIGHT_DISK_BYTES);
  volume.setBallast(TIGHT_DISK_BYTES / 20 * 19 - room);
  later([&volume]() { volume.setBallast(0); });
}

void Weather::cutMasterOff(const std::string& master) {
  auto& network = cluster_.network();
  auto others = cluster_.mastersBut(master);
  uint64_t way = random_->below(4);
  for (auto& other : others) {
    if (way == 0) {
      network.partitionOneWay(master, other);
    } else if (way == 1) {
      network.partitionOneWay(other, master);
    } else {
      network.partition(master, other);
    }
    if (way == 3) {
      break;  // one of them still hears it
    }
  }
  later([&network, master, others] {
    for (auto& other : others) {
      network.heal(master, other);
    }
  });
}

// Most of it meets whoever leads.
void Weather::strikeMasters() {
  std::string leader = cluster_.leaderNow();
  std::string master = leader.empty() || random_->below(4) == 0 ? anyMaster() : leader;
  uint64_t dice = random_->below(100);
  if (dice < 25) {
    takeDown(master, false);
  } else if (dice < 45) {
    takeDown(master, true);
  } else if (dice < 55) {
    bool power = random_->below(4) != 0;
    for (auto& each : masters_) {
      takeDown(each, power);
    }
  } else if (dice < 65) {
    Nanos until = cluster_.world().clock().monotonic() + random_->between(MILLISECOND, SPELL_MAX);
    cluster_.world().volume(master).stallUntil(until);
  } else {
    cutMasterOff(master);
  }
}

void Weather::strike() {
  ++events_;
  if (masters_.size() > 1 && random_->below(3) == 0) {
    strikeMasters();
    return;
  }
  if (tight_ && random_->below(4) == 0) {
    fillDisk(anyServer());
    return;
  }
  if (rough_ && random_->below(3) == 0) {
    strikeRoughly();
    return;
  }
  uint64_t dice = random_->below(100);
  if (dice < 20) {
    takeDown(anyServer(), false);
  } else if (dice < 40) {
    takeDown(anyServer(), true);
  } else if (dice < 46) {
    takeAllDown();
  } else if (dice < 56) {
    std::string master = anyMaster();
    takeDown(master, random_->below(2) == 0);
  } else if (dice < 64) {
    Nanos until = cluster_.world().clock().monotonic() + random_->between(MILLISECOND, SPELL_MAX);
    cluster_.world().volume(anyServer()).stallUntil(until);
  } else {
    cutOff();
  }
}

}  // namespace cairn
