// A map and its roster under a test's hand: servers come, go, restart; decisions are applied as log entries would
// be.
#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "master/placement/acting_sets.h"
#include "tests/unit/master/seeded_random.h"

namespace cairn {

class PlacementWorld {
 public:
  static constexpr ClassId CLASS{0};

  explicit PlacementWorld(uint64_t seed, uint32_t servers = 3, uint8_t shardBits = 4) : random(seed) {
    map.classes[CLASS] = {CLASS, 3, 2, shardBits};
    rules.firstServers = servers;
    for (uint32_t i = 0; i < servers; ++i) {
      addServer(1);
    }
    roster.emplace(map, now);
  }

  struct Machine {
    ServerRecord record;
    std::vector<VolumeState> volumes;
    bool running = false;
    bool reachable = true;
  };

  void addServer(uint32_t volumes) {
    Machine machine;
    machine.record.id = random.uuid<ServerId>();
    machine.record.name = "c" + std::to_string(machines.size() + 1);
    for (uint32_t i = 0; i < volumes; ++i) {
      machine.volumes.push_back({random.uuid<VolumeId>(), uint64_t{1} << 40});
    }
    machines.push_back(std::move(machine));
  }

  void start(size_t i) {
    machines[i].record.incarnation = random.uuid<Incarnation>();
    machines[i].running = true;
    if (machines[i].reachable) {
      ASSERT_TRUE(roster->arrive(machines[i].record, machines[i].volumes, now).ok());
    }
  }
  void startAll() {
    for (size_t i = 0; i < machines.size(); ++i) {
      if (!machines[i].running) {
        start(i);
      }
    }
  }
  void kill(size_t i) {
    machines[i].running = false;
    roster->disconnected(machines[i].record.id, machines[i].record.incarnation);
  }
  void leave(size_t i) {
    roster->leave(machines[i].record.id, machines[i].record.incarnation, now);
    kill(i);
  }
  // The master dies and comes back with its map.
  void restartMaster() {
    roster.emplace(map, now);
    targets = Targets();
    for (auto& machine : machines) {
      if (machine.running && machine.reachable) {
        ASSERT_TRUE(roster->arrive(machine.record, machine.volumes, now).ok());
      }
    }
  }

  // One turn of the master: heartbeats of what runs and is reachable, then decisions until there are none.
  void turn(Nanos pass = 100 * MILLISECOND) {
    now += pass;
    for (auto& machine : machines) {
      Nanos lease = 0;
      bool speaks = machine.running && machine.reachable;
      MapVersion knows = hearsMap(machine) ? map.version : MapVersion{};
      if (speaks && !roster->beat(machine.record.id, machine.record.incarnation, knows, now, lease)) {
        ASSERT_TRUE(roster->arrive(machine.record, machine.volumes, now).ok());
      }
      if (speaks && hearsMap(machine)) {
        roster->reportMap(machine.record.id, map.version, {});
      }
    }
    roster->passTime(now);
    for (int i = 0; i < 4; ++i) {
      roster->follow(map, now);
      Decision decision = decide(map, *roster, caughtUp, rules, now, targets);
      if (decision.change.empty()) {
        return;
      }
      apply(decision.change);
    }
    FAIL() << "decisions don't settle";
  }
  void pass(Nanos time) {
    for (Nanos end = now + time; now < end;) {
      turn();
    }
  }

  void apply(const MapChange& change) {
    map.version = next(map.version);
    for (auto& cls : change.classes) {
      map.classes[cls.id] = cls;
    }
    for (auto& server : change.servers) {
      map.servers[server.id] = server;
    }
    for (auto& volume : change.volumes) {
      map.volumes[volume.number] = volume;
    }
    for (auto shard : change.shards) {
      shard.changed = map.version;
      map.shards[shard.id] = shard;
    }
  }

  // Every joining member of every shard has everything.
  void catchUpAll() {
    caughtUp.clear();
    for (auto& [id, shard] : map.shards) {
      for (VolumeNumber volume : shard.joining) {
        caughtUp.push_back({id, shard.epoch, volume});
      }
    }
  }

  const Machine& machineOf(VolumeNumber volume) const {
    for (auto& machine : machines) {
      if (machine.record.id == map.volume(volume)->server) {
        return machine;
      }
    }
    throw std::out_of_range("volume");
  }
  VolumeNumber volumeOf(size_t machine) const {
    for (auto& [number, volume] : map.volumes) {
      if (volume.server == machines[machine].record.id) {
        return number;
      }
    }
    throw std::out_of_range("machine");
  }
  bool allInSync() const {
    for (auto& [id, shard] : map.shards) {
      if (shard.inSync.size() != shard.target.size()) {
        return false;
      }
    }
    return !map.shards.empty();
  }
  const ShardRecord& first() const { return map.shards.begin()->second; }

  // Whether the machine has taken the newest map, as its heartbeats say.
  std::function<bool(const Machine&)> hearsMap = [](auto&) { return true; };
  SeededRandom random;
  ShardMap map;
  PlacementRules rules;
  Targets targets;
  std::vector<Machine> machines;
  std::vector<CaughtUp> caughtUp;
  Nanos now = 1000 * SECOND;
  std::optional<Roster> roster;
};

}  // namespace cairn
