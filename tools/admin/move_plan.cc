#include "tools/admin/move_plan.h"

#include <algorithm>

#include "master/placement/ring.h"

namespace cairn::admin {

namespace {

struct Disk {
  uint64_t usedBytes = 0;
  uint64_t totalBytes = 0;
  uint64_t ownBytes = 0;
};

class Planner {
 public:
  Planner(const ShardMap& map, const Json& status, Move move, const std::string& server, const NewServer& added)
      : map_(map), status_(status), move_(move), server_(server) {
    readDisks();
    gatherVolumes();
    if (move == Move::ADD) {
      addNew(added);
    }
    for (auto& [id, shard] : map.shards) {
      for (VolumeNumber volume : shard.inSync) {
        ++copiesOn_[volume];
      }
    }
  }

  MovePlan run() {
    plan_.leastCopies = map_.shards.empty() ? 0 : UINT32_MAX;
    for (auto& [id, cls] : map_.classes) {
      if (map_.shard(makeShardId(id, 0)) != nullptr) {
        planClass(cls);
      }
    }
    uint64_t speed = status_["repair"]["bytesPerSecond"].get<uint64_t>();
    speed = speed > 0 ? speed : ASSUMED_BYTES_PER_SECOND;
    plan_.etaSeconds = (plan_.bytesToMove + speed - 1) / speed;
    reckonSpace();
    return std::move(plan_);
  }

 private:
  bool isConcerned(VolumeNumber volume) const {
    const ServerRecord* record = map_.serverOf(volume);
    return move_ != Move::ADD && record != nullptr && record->name == server_;
  }
  void readDisks();
  void gatherVolumes();
  void addNew(const NewServer& added);
  void planClass(const ReplicationClass& cls);
  void planShard(const ShardRecord& shard, const std::vector<VolumeNumber>& wanted);
  void reckonSpace();
  uint64_t copyBytes(const ShardRecord& shard) const;

  const ShardMap& map_;
  const Json& status_;
  const Move move_;
  const std::string server_;
  std::map<VolumeNumber, Disk> disks_;
  std::vector<RingVolume> volumes_;    // afterwards
  std::vector<ServerRecord> servers_;  // of each
  std::map<VolumeNumber, uint64_t> copiesOn_;
  MovePlan plan_;
};

void Planner::readDisks() {
  for (auto& server : status_["servers"]) {
    for (auto& volume : server["volumes"]) {
      disks_[VolumeNumber{volume["number"].get<uint32_t>()}] = {volume["usedBytes"], volume["totalBytes"],
                                                                volume["ownBytes"]};
    }
  }
}

void Planner::gatherVolumes() {
  for (auto& [number, volume] : map_.volumes) {
    const ServerRecord* server = map_.serverOf(number);
    bool stays = server != nullptr && volume.usable && !isConcerned(number) &&
                 (server->state == wire::ServerState::IN_SERVICE || server->state == wire::ServerState::MAINTENANCE);
    if (stays) {
      volumes_.push_back({number, volume.id, {}, volume.weight, server->online});
      servers_.push_back(*server);
    }
  }
}

void Planner::addNew(const NewServer& added) {
  uint64_t weights = 0;
  uint64_t totals = 0;
  for (auto& volume : volumes_) {
    weights += volume.weight;
    totals += disks_[volume.number].totalBytes;
  }
  size_t count = std::max<size_t>(volumes_.size(), 1);
  uint64_t total = added.bytes > 0 ? added.bytes : totals / count;
  uint64_t weight = totals > 0 ? total * weights / totals : weights / count;
  VolumeNumber number{map_.volumes.empty() ? 1 : raw(map_.volumes.rbegin()->first) + 1};
  disks_[number] = {0, total, 0};
  volumes_.push_back({number, VolumeId{~uint64_t{0}, raw(number)}, {},
                      static_cast<uint32_t>(std::clamp<uint64_t>(weight, 1, 1u << 30)), true});
  ServerRecord server;
  server.id = ServerId{~uint64_t{0}, raw(number)};
  server.name = server_;
  server.rack = added.rack;
  server.zone = added.zone;
  servers_.push_back(server);
}

uint64_t Planner::copyBytes(const ShardRecord& shard) const {
  uint64_t most = 0;
  for (VolumeNumber volume : shard.inSync) {
    auto disk = disks_.find(volume);
    auto copies = copiesOn_.find(volume);
    if (disk != disks_.end() && copies != copiesOn_.end()) {
      most = std::max(most, disk->second.ownBytes / copies->second);
    }
  }
  return most;
}

void Planner::planClass(const ReplicationClass& cls) {
  std::set<Domain> domains;
  for (size_t i = 0; i < volumes_.size(); ++i) {
    volumes_[i].domain = domainOf(servers_[i], cls.level);
    if (volumes_[i].takes) {
      domains.insert(volumes_[i].domain);
    }
  }
  if (domains.size() < cls.copies && move_ != Move::ADD) {
    bool bySelf = cls.level == wire::FailureDomain::SERVER;
    std::string what = bySelf ? "chunkserver" : levelName(cls.level);
    plan_.refused = "only " + std::to_string(domains.size()) + " " + what + "s would be left for " +
                    std::to_string(cls.copies) + " copies" + (bySelf ? "" : " in different ones") +
                    "; add a chunkserver" + (bySelf ? "" : " in another one") + " first";
  }
  uint32_t shardCount = 1u << cls.shardBits;
  Placement previous(shardCount);
  for (uint32_t position = 0; position < shardCount; ++position) {
    previous[position] = map_.shards.at(makeShardId(cls.id, position)).target;
  }
  Placement wanted = placeShards(volumes_, cls.id, shardCount, cls.copies, previous);
  for (uint32_t position = 0; position < shardCount; ++position) {
    planShard(map_.shards.at(makeShardId(cls.id, position)), wanted[position]);
  }
}

void Planner::planShard(const ShardRecord& shard, const std::vector<VolumeNumber>& wanted) {
  uint64_t bytes = copyBytes(shard);
  for (VolumeNumber volume : wanted) {
    if (!shard.isInSync(volume)) {
      ++plan_.copiesMoved;
      plan_.bytesToMove += bytes;
      disks_[volume].usedBytes += bytes;
    }
  }
  uint32_t least = 0;
  for (VolumeNumber volume : shard.inSync) {
    const ServerRecord* server = map_.serverOf(volume);
    least += server != nullptr && server->online && !(move_ == Move::FAIL && isConcerned(volume));
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), volume) == wanted.end()) {
      disks_[volume].usedBytes -= std::min(disks_[volume].usedBytes, bytes);
    }
  }
  plan_.leastCopies = std::min(plan_.leastCopies, least);
}

void Planner::reckonSpace() {
  for (auto& volume : volumes_) {
    Disk& disk = disks_[volume.number];
    uint64_t limit = disk.totalBytes / 100 * FULLEST_PERCENT_MAX;
    plan_.availableBytesAfter += limit - std::min(limit, disk.usedBytes);
    if (disk.totalBytes > 0) {
      auto percent = static_cast<uint32_t>(disk.usedBytes * 100 / disk.totalBytes);
      plan_.fullestPercentAfter = std::max(plan_.fullestPercentAfter, percent);
    }
  }
  if (plan_.refused.empty() && plan_.copiesMoved > 0 && plan_.fullestPercentAfter >= FULLEST_PERCENT_MAX) {
    plan_.refused = "a disk would be " + std::to_string(plan_.fullestPercentAfter) +
                    " % full; delete files or add a chunkserver first";
  }
  if (plan_.refused.empty() && plan_.leastCopies == 0 && !map_.shards.empty()) {
    plan_.refused = "some shard would have no copy that answers on the way; bring back what is down first";
  }
}

}  // namespace

MovePlan planMove(const ShardMap& map, const Json& status, Move move, const std::string& server,
                  const NewServer& added) {
  return Planner(map, status, move, server, added).run();
}

}  // namespace cairn::admin
