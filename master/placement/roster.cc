#include "master/placement/roster.h"

#include <algorithm>

namespace cairn {

Roster::Roster(const ShardMap& map, Nanos now) : lastLook_(now) {
  for (auto& [id, record] : map.servers) {
    Member& member = members_[id];
    member.record = record;
    member.alive = record.online;
    member.since = now;
    member.leaseEnd = now + START_GRACE;
    member.mustKnow = map.version;  // the leader before may have dropped it in the last entry
  }
}

Status Roster::arrive(ServerRecord record, std::vector<VolumeState> volumes, Nanos now) {
  Member& member = members_[record.id];
  bool other = member.registered && member.record.incarnation != record.incarnation;
  if (other && member.alive && member.links > 0) {
    return Error{EEXIST, "chunkserver id " + toText(record.id) + " is in use by \"" + member.record.name + "\" at " +
                             member.record.address +
                             ", which is alive; a data directory must not be copied: give this "
                             "chunkserver an empty one"};
  }
  bool continues = member.alive && member.record.incarnation == record.incarnation;
  if (!continues) {
    member.since = now;
  }
  if (other && member.alive) {
    noteDeparture(member, now);
  }
  if (member.record.incarnation != record.incarnation) {
    member.links = 0;
    member.suspectedBy.clear();
    member.revokedBy = 0;
    member.distrustedUntil = 0;
    member.distrust = DISTRUST;
    member.applied = {};
    member.fencesDrained = {};
  }
  member.record = std::move(record);
  member.volumes.clear();
  for (auto& volume : volumes) {
    VolumeId id = volume.id;
    volume.since = now;
    member.volumes[id] = std::move(volume);
  }
  member.registered = true;
  ++member.links;
  member.left = false;
  if (member.revokedBy == 0 && now >= member.distrustedUntil) {
    member.alive = true;
    member.leaseEnd = now + REPLACE_AFTER;
  }
  ++revision_;
  return {};
}

bool Roster::beat(ServerId server, const Incarnation& incarnation, MapVersion applied, Nanos now, Nanos& lease) {
  auto it = members_.find(server);
  if (it == members_.end() || !it->second.registered || it->second.record.incarnation != incarnation ||
      it->second.left) {
    return false;
  }
  Member& member = it->second;
  lease = 0;
  if (member.revokedBy != 0 || now < member.distrustedUntil) {
    return true;
  }
  if (!member.alive) {
    member.alive = true;
    member.since = now;
    ++revision_;
  }
  member.leaseEnd = std::max(member.leaseEnd, now + REPLACE_AFTER);
  lease = member.drops == 0 && applied >= member.mustKnow ? SERVER_LEASE : 0;
  return true;
}

void Roster::beginDrop(const std::set<ServerId>& servers) {
  for (ServerId id : servers) {
    auto it = members_.find(id);
    if (it != members_.end()) {
      ++it->second.drops;
    }
  }
}

void Roster::endDrop(const std::set<ServerId>& servers, MapVersion version) {
  for (ServerId id : servers) {
    auto it = members_.find(id);
    if (it != members_.end()) {
      --it->second.drops;
      it->second.mustKnow = std::max(it->second.mustKnow, version);
    }
  }
}

void Roster::reportVolume(ServerId server, VolumeState volume, Nanos now) {
  auto it = members_.find(server);
  if (it == members_.end()) {
    return;
  }
  auto known = it->second.volumes.find(volume.id);
  if (known == it->second.volumes.end()) {
    return;
  }
  bool turned = known->second.usable != volume.usable;
  volume.since = turned ? now : known->second.since;
  volume.noRoomAt = volume.noRoom ? now : known->second.noRoomAt;
  revision_ += turned || known->second.noRoom != volume.noRoom ? 1 : 0;
  known->second = std::move(volume);
}

void Roster::reportMap(ServerId server, MapVersion applied, MapVersion fencesDrained) {
  auto it = members_.find(server);
  if (it != members_.end()) {
    it->second.applied = std::max(it->second.applied, applied);
    it->second.fencesDrained = std::max(it->second.fencesDrained, fencesDrained);
  }
}

size_t Roster::othersAlive(ServerId server) const {
  size_t count = 0;
  for (auto& [id, member] : members_) {
    count += id != server && member.registered && member.alive;
  }
  return count;
}

void Roster::suspect(ServerId reporter, ServerId suspect, Nanos now) {
  auto from = members_.find(reporter);
  auto to = members_.find(suspect);
  bool counts = from != members_.end() && to != members_.end() && reporter != suspect && from->second.alive &&
                from->second.revokedBy == 0 && to->second.alive && to->second.registered;
  if (!counts) {
    return;
  }
  to->second.suspectedBy.insert(reporter);
  size_t accused = 0;
  for (auto& [id, member] : members_) {
    accused += member.alive && member.registered && member.suspectedBy.contains(reporter);
  }
  size_t others = othersAlive(reporter);
  if (others >= 2 && accused * 2 > others) {
    for (auto& [id, member] : members_) {
      member.suspectedBy.erase(reporter);
      if (member.suspectedBy.empty()) {
        member.revokedBy = 0;
      }
    }
    from->second.revokedBy = now;
  } else if (to->second.revokedBy == 0) {
    to->second.revokedBy = now;
  }
}

void Roster::leave(ServerId server, const Incarnation& incarnation, Nanos now) {
  auto it = members_.find(server);
  if (it != members_.end() && it->second.registered && it->second.record.incarnation == incarnation) {
    it->second.left = true;
    if (it->second.alive) {
      end(it->second, now);
    }
  }
}

void Roster::disconnected(ServerId server, const Incarnation& incarnation) {
  auto it = members_.find(server);
  if (it != members_.end() && it->second.record.incarnation == incarnation && it->second.links > 0) {
    --it->second.links;
  }
}

void Roster::noteDeparture(Member& member, Nanos now) {
  member.departures.push_back(now);
  if (member.departures.size() > FLAPS) {
    member.departures.pop_front();
  }
}

void Roster::end(Member& member, Nanos now) {
  noteDeparture(member, now);
  member.alive = false;
  member.since = now;
  if (member.revokedBy != 0) {
    member.revokedBy = 0;
    member.suspectedBy.clear();
    member.distrustedUntil = now + member.distrust;
    member.distrust = std::min(2 * member.distrust, DISTRUST_MAX);
  }
  ++revision_;
}

void Roster::passTime(Nanos now) {
  if (now - lastLook_ > STALL) {
    // Heartbeats may be waiting unread behind this call.
    for (auto& [id, member] : members_) {
      member.leaseEnd = std::max(member.leaseEnd, now + REPLACE_AFTER);
    }
  }
  lastLook_ = now;
  for (auto& [id, member] : members_) {
    if (member.alive && now >= member.leaseEnd) {
      end(member, now);
    }
  }
}

Presence Roster::presence(ServerId server, const Incarnation& inMap) const {
  auto it = members_.find(server);
  if (it == members_.end() || !it->second.alive) {
    return Presence::GONE;
  }
  if (!it->second.registered) {
    return Presence::PRESUMED;
  }
  return it->second.record.incarnation == inMap ? Presence::PRESENT : Presence::ARRIVED;
}

Presence Roster::presence(const ShardMap& map, VolumeNumber number) const {
  const VolumeRecord* volume = map.volume(number);
  const ServerRecord* server = map.serverOf(number);
  if (volume == nullptr || server == nullptr) {
    return Presence::GONE;
  }
  Presence whole = presence(server->id, server->incarnation);
  if (whole == Presence::GONE || whole == Presence::PRESUMED) {
    return whole;
  }
  auto& volumes = members_.at(server->id).volumes;
  auto it = volumes.find(volume->id);
  return it != volumes.end() && it->second.usable ? whole : Presence::GONE;
}

Nanos Roster::since(const ShardMap& map, VolumeNumber number) const {
  const VolumeRecord* volume = map.volume(number);
  auto it = volume == nullptr ? members_.end() : members_.find(volume->server);
  if (it == members_.end()) {
    return 0;
  }
  auto state = it->second.volumes.find(volume->id);
  bool own = it->second.alive && state != it->second.volumes.end() && !state->second.usable;
  return own ? state->second.since : it->second.since;
}

void Roster::follow(const ShardMap& map, Nanos now) {
  std::erase_if(members_, [&map](auto& item) {
    return !map.servers.contains(item.first) && !item.second.alive && item.second.links == 0 &&
           item.second.drops == 0;
  });
  for (auto& [id, member] : members_) {
    auto it = map.servers.find(id);
    bool maintained = it != map.servers.end() && it->second.state == wire::ServerState::MAINTENANCE;
    if (maintained && member.maintenanceSince == 0) {
      member.maintenanceSince = now;
    } else if (!maintained && member.maintenanceSince != 0) {
      member.maintenanceSince = 0;
      member.maintenanceEnd = now;
    }
  }
}

void Roster::prolongMaintenance(ServerId server, Nanos now) {
  auto it = members_.find(server);
  if (it != members_.end() && it->second.maintenanceSince != 0) {
    it->second.maintenanceSince = now;
    ++revision_;
  }
}

bool Roster::isHere(ServerId server) const {
  auto it = members_.find(server);
  return it != members_.end() && it->second.registered && it->second.alive;
}

bool Roster::isFlapping(ServerId server, Nanos now) const {
  auto it = members_.find(server);
  return it != members_.end() && it->second.departures.size() == FLAPS &&
         it->second.departures.front() + FLAP_WINDOW > now;
}

Nanos Roster::maintenanceEnd(ServerId server) const {
  auto it = members_.find(server);
  return it == members_.end() ? 0 : it->second.maintenanceEnd;
}

const Roster::Member* Roster::member(ServerId server) const {
  auto it = members_.find(server);
  return it == members_.end() ? nullptr : &it->second;
}

}  // namespace cairn
