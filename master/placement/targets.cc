#include "master/placement/targets.h"

#include <algorithm>

namespace cairn {
namespace {

bool contains(const std::vector<VolumeNumber>& volumes, VolumeNumber volume) {
  return std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
}

class Judge {
 public:
  Judge(const ShardMap& map, const Roster& roster, const PlacementRules& rules, Nanos now, Nanos crowdEnd)
      : map_(map), roster_(roster), rules_(rules), now_(now), crowdEnd_(crowdEnd) {}

  Standings run() {
    for (auto& [number, volume] : map_.volumes) {
      if (const ServerRecord* server = map_.serverOf(number)) {
        out_.volumes[number] = standing(volume, *server);
      }
    }
    spareACrowd();
    for (VolumeNumber volume : overdue_) {
      const VolumeRecord* record = map_.volume(volume);
      out_.volumes[volume] = out_.spared.contains(record->server) ? Standing::KEEPS : Standing::LEAVES;
    }
    for (auto& [id, server] : map_.servers) {
      if (isLost(id)) {
        out_.lost.insert(id);
      }
      const Roster::Member* member = roster_.member(id);
      if (member != nullptr && member->maintenanceSince != 0) {
        lookAgainAt(member->maintenanceSince + server.maintenanceSeconds * SECOND);
      }
    }
    return std::move(out_);
  }

 private:
  Standing standing(const VolumeRecord& volume, const ServerRecord& server);
  Standing ofGone(const VolumeRecord& volume, const ServerRecord& server);
  Standing ofPresent(const VolumeRecord& volume, const ServerRecord& server);
  void spareACrowd();
  bool isLost(ServerId server) const;
  bool isFlapping(ServerId server) const { return roster_.isFlapping(server, now_); }
  void lookAgainAt(Nanos when) { out_.lookAgain = std::min(when, out_.lookAgain.value_or(when)); }

  const ShardMap& map_;
  const Roster& roster_;
  const PlacementRules& rules_;
  const Nanos now_;
  const Nanos crowdEnd_;
  std::set<VolumeNumber> gone_;     // and no administrator knows of it
  std::set<VolumeNumber> overdue_;  // gone for longer than the repair delay
  Standings out_;
};

Standing Judge::standing(const VolumeRecord& volume, const ServerRecord& server) {
  using State = wire::ServerState;
  if (server.state == State::DRAINING || server.state == State::DRAINED) {
    return Standing::LEAVES;
  }
  switch (roster_.presence(map_, volume.number)) {
    case Presence::GONE:
      return server.state == State::DEAD && !roster_.isHere(server.id) ? Standing::LEAVES : ofGone(volume, server);
    case Presence::PRESENT:
      return ofPresent(volume, server);
    case Presence::PRESUMED:
    case Presence::ARRIVED:
      break;
  }
  return Standing::KEEPS;
}

Standing Judge::ofGone(const VolumeRecord& volume, const ServerRecord& server) {
  if (server.state == wire::ServerState::MAINTENANCE) {
    return Standing::KEEPS;
  }
  gone_.insert(volume.number);
  Nanos delay = rules_.repairDelay * (isFlapping(server.id) ? 2 : 1);
  Nanos due =
      std::max({roster_.since(map_, volume.number), roster_.maintenanceEnd(server.id), crowdEnd_}) + delay;
  if (now_ >= due) {
    overdue_.insert(volume.number);
  } else {
    lookAgainAt(due);
  }
  return Standing::KEEPS;
}

Standing Judge::ofPresent(const VolumeRecord& volume, const ServerRecord& server) {
  auto& state = roster_.member(server.id)->volumes.at(volume.id);
  Nanos settled =
      roster_.since(map_, volume.number) + rules_.settleDelay * (isFlapping(server.id) ? SETTLE_FLAPPING : 1);
  if (now_ < settled) {
    lookAgainAt(settled);
  }
  if (state.noRoom) {
    return Standing::FULL;
  }
  bool full = state.totalBytes > 0 && state.usedBytes / TAKES_BELOW_PERCENT >= state.totalBytes / 100;
  if (state.noRoomAt != 0 && now_ < state.noRoomAt + NO_ROOM_PATIENCE) {
    full = true;  // what was moved elsewhere for that must not come back at once
    lookAgainAt(state.noRoomAt + NO_ROOM_PATIENCE);
  }
  bool takes = now_ >= settled && !full && server.state != wire::ServerState::MAINTENANCE;
  return takes ? Standing::TAKES : Standing::KEEPS;
}

// More than half of the servers that hold data, or of their volumes, gone at once.
void Judge::spareACrowd() {
  std::set<VolumeNumber> used;
  for (auto& [id, shard] : map_.shards) {
    used.insert(shard.target.begin(), shard.target.end());
  }
  std::map<ServerId, bool> whole;  // servers that hold data; true: all of it is gone
  size_t volumesGone = 0;
  for (VolumeNumber volume : used) {
    const ServerRecord* server = map_.serverOf(volume);
    bool gone = gone_.contains(volume) || (server != nullptr && server->state == wire::ServerState::DEAD);
    volumesGone += gone;
    if (server != nullptr) {
      auto [it, isNew] = whole.emplace(server->id, gone);
      it->second = it->second && gone;
    }
  }
  size_t serversGone = std::count_if(whole.begin(), whole.end(), [](auto& item) { return item.second; });
  out_.crowd = 2 * serversGone > whole.size() || 2 * volumesGone > used.size();
  if (out_.crowd) {
    for (VolumeNumber volume : overdue_) {
      out_.spared.insert(map_.volume(volume)->server);
    }
  }
}

// All of the server's volumes are gone for too long.
bool Judge::isLost(ServerId server) const {
  bool any = false;
  for (auto& [number, volume] : map_.volumes) {
    if (volume.server == server) {
      any = true;
      if (!overdue_.contains(number) || out_.spared.contains(server)) {
        return false;
      }
    }
  }
  return any && !roster_.isHere(server);
}

// `wanted`, with what the shard has already at its old place, and with what leaves while there is nobody else. Never
// two of one failure domain: they would go together, and count as two copies until then.
std::vector<VolumeNumber> merged(const ShardMap& map, const ShardRecord& shard,
                                 const std::vector<VolumeNumber>& wanted, const ReplicationClass& cls) {
  std::vector<VolumeNumber> out;
  auto apart = [&](VolumeNumber volume, wire::FailureDomain level) {
    return std::none_of(out.begin(), out.end(), [&](VolumeNumber other) {
      return other == volume || shareDomain(map, other, volume, level);
    });
  };
  for (VolumeNumber volume : shard.target) {
    if (contains(wanted, volume)) {
      out.push_back(volume);
    }
  }
  for (VolumeNumber volume : wanted) {
    if (!contains(shard.target, volume)) {
      out.push_back(volume);
    }
  }
  auto keep = [&](bool inSync, wire::FailureDomain level) {
    for (VolumeNumber volume : shard.target) {
      if (out.size() < cls.copies && shard.isInSync(volume) == inSync && apart(volume, level)) {
        out.push_back(volume);
      }
    }
  };
  // The second level is for copies that were apart until a server came to be said to stand elsewhere: a copy less would
  // be worse.
  for (auto level : {cls.level, wire::FailureDomain::SERVER}) {
    keep(true, level);  // a copy that is there first
    keep(false, level);
  }
  return out;
}

bool sameSet(std::vector<VolumeNumber> a, std::vector<VolumeNumber> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

}  // namespace

Standings judge(const ShardMap& map, const Roster& roster, const PlacementRules& rules, Nanos now, Nanos crowdEnd) {
  return Judge(map, roster, rules, now, crowdEnd).run();
}

Standings Targets::look(const ShardMap& map, const Roster& roster, const PlacementRules& rules, Nanos now) {
  Standings standings = judge(map, roster, rules, now, crowdEnd_);
  if (crowd_ && !standings.crowd) {
    crowdEnd_ = now;
    standings = judge(map, roster, rules, now, crowdEnd_);
  }
  crowd_ = standings.crowd;
  return standings;
}

bool isUsed(const ShardRecord& shard, VolumeNumber volume) {
  return shard.isInSync(volume) || shard.isJoining(volume) || contains(shard.target, volume);
}

size_t shardsUsing(const ShardMap& map, ServerId server) {
  std::vector<VolumeNumber> volumes;
  for (auto& [number, volume] : map.volumes) {
    if (volume.server == server) {
      volumes.push_back(number);
    }
  }
  return std::count_if(map.shards.begin(), map.shards.end(), [&](auto& item) {
    auto used = [&](VolumeNumber volume) { return isUsed(item.second, volume); };
    return std::any_of(volumes.begin(), volumes.end(), used);
  });
}

Targets::Plan Targets::plan(const ShardMap& map, const Standings& standings) {
  Input input{standings.volumes, map.classes, {}, map.shards.size()};
  for (auto& [id, server] : map.servers) {
    input.places[id] = {server.rack, server.zone};
  }
  if (input_ != input) {
    input_ = std::move(input);
    plan_ = compute(map, standings);
  }
  std::erase_if(plan_, [&](auto& item) { return sameSet(map.shards.at(item.first).target, item.second); });
  return plan_;
}

Targets::Plan Targets::compute(const ShardMap& map, const Standings& standings) {
  std::set<VolumeNumber> used;
  for (auto& [id, shard] : map.shards) {
    used.insert(shard.target.begin(), shard.target.end());
  }
  std::vector<RingVolume> volumes;
  std::vector<const ServerRecord*> servers;  // of each
  for (auto& [number, standing] : standings.volumes) {
    // What has nothing and gets nothing has no share that the others would have to make room for.
    bool keeps = standing == Standing::KEEPS || standing == Standing::FULL;
    bool counts = standing == Standing::TAKES || (keeps && used.contains(number));
    if (counts) {
      const VolumeRecord& record = *map.volume(number);
      volumes.push_back({number, record.id, {}, record.weight, standing == Standing::TAKES});
      servers.push_back(map.serverOf(number));
    }
  }
  Plan out;
  for (auto& [id, cls] : map.classes) {
    uint32_t shardCount = 1u << cls.shardBits;
    if (map.shard(makeShardId(id, 0)) == nullptr) {
      continue;  // not placed yet
    }
    Placement previous(shardCount);
    for (uint32_t position = 0; position < shardCount; ++position) {
      auto& shard = map.shards.at(makeShardId(id, position));
      previous[position] = shard.target;
      std::erase_if(previous[position], [&](VolumeNumber volume) {
        auto found = standings.volumes.find(volume);
        return found != standings.volumes.end() && found->second == Standing::FULL && !shard.isInSync(volume);
      });
    }
    for (size_t i = 0; i < volumes.size(); ++i) {
      volumes[i].domain = domainOf(*servers[i], cls.level);
    }
    Placement wanted = placeShards(volumes, id, shardCount, cls.copies, previous);
    for (uint32_t position = 0; position < shardCount; ++position) {
      auto& shard = map.shards.at(makeShardId(id, position));
      auto target = merged(map, shard, wanted[position], cls);
      if (!sameSet(target, shard.target)) {
        out[shard.id] = std::move(target);
      }
    }
  }
  return out;
}

}  // namespace cairn
