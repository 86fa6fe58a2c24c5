#include "tests/sim/cluster/map_monitor.h"

#include <algorithm>
#include <set>

namespace cairn {
namespace {

using Volumes = std::vector<VolumeNumber>;

bool contains(const Volumes& volumes, VolumeNumber volume) {
  return std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
}

bool sameSet(const Volumes& a, const Volumes& b) {
  return std::set<VolumeNumber>(a.begin(), a.end()) == std::set<VolumeNumber>(b.begin(), b.end());
}

// They would be lost together.
bool shareServer(const ShardMap& map, const Volumes& volumes) {
  std::set<ServerId> servers;
  for (VolumeNumber volume : volumes) {
    const ServerRecord* server = map.serverOf(volume);
    if (server != nullptr && !servers.insert(server->id).second) {
      return true;
    }
  }
  return false;
}

// Two of those that are wanted are where the class of the shard allows one.
bool shareDomain(const ShardMap& map, const ShardRecord& shard) {
  auto cls = map.classes.find(shardClass(shard.id));
  if (cls == map.classes.end() || cls->second.level == wire::FailureDomain::SERVER) {
    return false;
  }
  bool byRack = cls->second.level == wire::FailureDomain::RACK;
  std::set<std::string> used;
  for (VolumeNumber volume : shard.target) {
    const ServerRecord* server = map.serverOf(volume);
    std::string name = server == nullptr ? "" : byRack ? server->rack : server->zone;
    if (!name.empty() && !used.insert(byRack ? server->zone + "/" + name : name).second) {
      return true;
    }
  }
  return false;
}

std::string problemOf(const ShardMap& map, const ShardRecord& shard) {
  if (!contains(shard.inSync, shard.primary)) {
    return "its primary isn't in sync";
  }
  if (std::any_of(shard.joining.begin(), shard.joining.end(), [&](auto v) { return shard.isInSync(v); })) {
    return "a member is both in sync and joining";
  }
  if (shareDomain(map, shard)) {
    return "two of its copies are to be in one failure domain";
  }
  return shareServer(map, shard.inSync) || shareServer(map, shard.target) ? "two of its copies are on one server" : "";
}

std::string problemBetween(const ShardRecord& before, const ShardRecord& after) {
  if (after.epoch < before.epoch) {
    return "its epoch went back";
  }
  if (after.epoch == before.epoch) {
    bool same = sameSet(after.inSync, before.inSync) && after.primary == before.primary;
    return same ? "" : "its members changed and its epoch didn't";
  }
  if (after.epoch != next(before.epoch)) {
    return "";  // changed more than once, or an administrator began a new history
  }
  auto wasThere = [&](VolumeNumber volume) { return before.isInSync(volume) || before.isJoining(volume); };
  if (!std::all_of(after.inSync.begin(), after.inSync.end(), wasThere)) {
    return "a member is in sync that never joined";
  }
  auto stays = [&](VolumeNumber volume) { return before.isInSync(volume); };
  return std::any_of(after.inSync.begin(), after.inSync.end(), stays) ? "" : "its last copy in sync was given up";
}

}  // namespace

std::string MapMonitor::see(const ShardMap& now) {
  if (now.version <= last_.version) {
    return {};
  }
  std::string problem;
  for (auto& [id, before] : last_.shards) {
    if (now.shard(id) == nullptr) {
      problem = "shard " + std::to_string(raw(id)) + " has vanished";
    }
  }
  for (auto& [id, shard] : now.shards) {
    std::string found = problemOf(now, shard);
    const ShardRecord* before = last_.shard(id);
    if (found.empty() && before != nullptr) {
      found = problemBetween(*before, shard);
    }
    if (!found.empty()) {
      problem = "shard " + std::to_string(raw(id)) + ", epoch " + std::to_string(raw(shard.epoch)) + ": " + found;
    }
  }
  last_ = now;
  return problem;
}

}  // namespace cairn
