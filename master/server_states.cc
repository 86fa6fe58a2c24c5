#include "master/server_states.h"

#include <algorithm>

#include "common/epochs.h"
#include "common/log.h"
#include "master/placement/targets.h"
#include "master/propose.h"
#include "master/propose_map.h"

namespace cairn {
namespace {

constexpr unsigned TRIES_MAX = 20;  // the map may be changing all the time

const ServerRecord* findServer(const ShardMap& map, const std::string& name) {
  for (auto& [id, server] : map.servers) {
    if (server.name == name) {
      return &server;
    }
  }
  return nullptr;
}

Status mayRemove(const ShardMap& map, const Roster& roster, const ServerRecord& server) {
  using State = wire::ServerState;
  size_t shards = shardsUsing(map, server.id);
  if (shards > 0) {
    return Error{EBUSY, std::to_string(shards) + " shards still count on it; drain it first (dfsadmin node drain " +
                            server.name + ") and wait until it is drained"};
  }
  if (server.state != State::DRAINED && server.state != State::DEAD) {
    return Error{EBUSY,
                 "it is in service and would get data again; drain it first: dfsadmin node drain " + server.name};
  }
  const Roster::Member* member = roster.member(server.id);
  if (member != nullptr && member->alive) {
    return Error{EBUSY, "it runs, and would register again at once; stop it first"};
  }
  return {};
}

// The change that is wanted, in `out`.
Status plan(const ShardMap& map, const Roster& roster, const ServerRecord& server, wire::ServerChange change,
            uint32_t seconds, MapChange& out) {
  using State = wire::ServerState;
  ServerRecord record = server;
  record.maintenanceSeconds = 0;
  record.untilBack = false;
  switch (change) {
    case wire::ServerChange::DRAIN:
      record.state = server.state == State::DRAINED ? State::DRAINED : State::DRAINING;
      break;
    case wire::ServerChange::MAINTAIN:
      if (server.state == State::DRAINING || server.state == State::DRAINED) {
        return Error{EBUSY, "it is being drained; end that first: dfsadmin node resume " + server.name};
      }
      if (seconds == 0 || seconds > MAINTENANCE_SECONDS_MAX) {
        return Error{EINVAL, "maintenance lasts from one second to seven days"};
      }
      record.state = State::MAINTENANCE;
      record.maintenanceSeconds = seconds;
      break;
    case wire::ServerChange::RESUME:
      record.state = State::IN_SERVICE;
      break;
    case wire::ServerChange::REMOVE: {
      auto allowed = mayRemove(map, roster, server);
      if (!allowed.ok()) {
        return allowed;
      }
      out.removed.push_back(server.id);
      return {};
    }
  }
  if (record != server) {
    out.servers.push_back(record);
  }
  return {};
}

std::set<ServerId> membersOf(const ShardMap& map, ShardId shard) {
  std::set<ServerId> out;
  for (VolumeNumber volume : map.shards.at(shard).inSync) {
    if (const ServerRecord* server = map.serverOf(volume)) {
      out.insert(server->id);
    }
  }
  return out;
}

Status planForce(const ShardMap& map, const Roster& roster, ShardId id, VolumeNumber volume, MapChange& out) {
  const ShardRecord* found = map.shard(id);
  if (found == nullptr) {
    return Error{ENOENT, "there is no such shard"};
  }
  auto present = [&](VolumeNumber number) { return roster.presence(map, number) == Presence::PRESENT; };
  auto mayServe = [&](VolumeNumber number) { return roster.presence(map, number) != Presence::GONE; };
  if (std::any_of(found->inSync.begin(), found->inSync.end(), mayServe)) {
    return Error{EINVAL, "the shard has a copy in sync that answers: nothing is to be forced"};
  }
  if (!present(volume)) {
    return Error{EINVAL, "volume " + std::to_string(raw(volume)) + " doesn't answer, so it can't serve the shard"};
  }
  ShardRecord record = *found;
  // Those who knew more must compare everything: what they have changed since counts for nothing now.
  record.epoch = nextHistory(found->epoch);
  record.inSync = {volume};
  record.primary = volume;
  record.joining.clear();
  auto& target = record.target;
  if (std::find(target.begin(), target.end(), volume) == target.end()) {
    auto besideIt = [&](VolumeNumber other) { return map.serverOf(other) == map.serverOf(volume); };
    auto leaves = std::find_if(target.begin(), target.end(), besideIt);
    leaves = leaves == target.end() ? std::find_if_not(target.begin(), target.end(), present) : leaves;
    if (leaves != target.end()) {
      *leaves = volume;
    } else {
      target.push_back(volume);
    }
  }
  out.shards.push_back(std::move(record));
  return {};
}

}  // namespace

Task<Status> changeServer(Replica& replica, Roster& roster, Nanos now, std::string name, wire::ServerChange change,
                          uint32_t seconds) {
  for (unsigned tries = 0; tries < TRIES_MAX; ++tries) {
    auto& map = replica.reader().map();
    const ServerRecord* server = findServer(map, name);
    if (server == nullptr) {
      co_return Error{ENOENT, "there is no chunkserver of that name; see: dfsadmin node list"};
    }
    ServerId id = server->id;
    MapChange wanted;
    auto allowed = plan(map, roster, *server, change, seconds, wanted);
    if (!allowed.ok()) {
      co_return allowed;
    }
    Status outcome;
    if (!wanted.empty()) {
      auto applied = co_await proposeMap(replica, wanted);
      outcome = outcomeOf(applied);
    }
    if (outcome.ok()) {
      roster.prolongMaintenance(id, now);
      spdlog::info("chunkserver {}: its state was changed by an administrator", name);
    }
    if (outcome.ok() || outcome.code() != EAGAIN) {
      co_return outcome;
    }
  }
  co_return Error{EAGAIN, "the shard map changes too fast; try again"};
}

Task<Status> forceShard(Replica& replica, Roster& roster, ShardId shard, VolumeNumber volume, bool apply) {
  for (unsigned tries = 0; tries < TRIES_MAX; ++tries) {
    MapChange wanted;
    auto allowed = planForce(replica.reader().map(), roster, shard, volume, wanted);
    if (!allowed.ok() || !apply) {
      co_return allowed;
    }
    auto dropped = membersOf(replica.reader().map(), shard);
    auto applied = co_await proposeDrop(replica, wanted, roster, kj::mv(dropped));
    auto outcome = outcomeOf(applied);
    if (outcome.ok()) {
      spdlog::warn("shard {:x}: volume {} was made its only copy in sync by an administrator", raw(shard), raw(volume));
    }
    if (outcome.ok() || outcome.code() != EAGAIN) {
      co_return outcome;
    }
  }
  co_return Error{EAGAIN, "the shard map changes too fast; try again"};
}

}  // namespace cairn
