#include "rpc/shard_map.h"

#include <algorithm>

namespace cairn {
namespace {

bool contains(const std::vector<VolumeNumber>& volumes, VolumeNumber volume) {
  return std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
}

std::vector<VolumeNumber> readVolumes(capnp::List<uint32_t>::Reader in) {
  std::vector<VolumeNumber> out;
  out.reserve(in.size());
  for (uint32_t number : in) {
    out.push_back(VolumeNumber{number});
  }
  return out;
}

void writeVolumes(const std::vector<VolumeNumber>& in, capnp::List<uint32_t>::Builder out) {
  for (uint32_t i = 0; i < in.size(); ++i) {
    out.set(i, raw(in[i]));
  }
}

}  // namespace

bool ShardRecord::isInSync(VolumeNumber volume) const { return contains(inSync, volume); }
bool ShardRecord::isJoining(VolumeNumber volume) const { return contains(joining, volume); }

ServerRecord readServer(wire::Server::Reader in) {
  return {fromWire<ServerTag>(in.getId()), in.getName().cStr(),   fromWire<IncarnationTag>(in.getIncarnation()),
          in.getAddress().cStr(),          in.getSocket().cStr(), in.getHostId().cStr(),
          in.getState(),                   in.getOnline(),        in.getMaintenanceSeconds(),
          in.getUntilBack(),               in.getRack().cStr(),   in.getZone().cStr()};
}

void writeServer(const ServerRecord& in, wire::Server::Builder out) {
  toWire(in.id, out.initId());
  out.setName(in.name);
  toWire(in.incarnation, out.initIncarnation());
  out.setAddress(in.address);
  out.setSocket(in.socket);
  out.setHostId(in.hostId);
  out.setState(in.state);
  out.setOnline(in.online);
  out.setMaintenanceSeconds(in.maintenanceSeconds);
  out.setUntilBack(in.untilBack);
  out.setRack(in.rack);
  out.setZone(in.zone);
}

VolumeRecord readVolume(wire::Volume::Reader in) {
  return {VolumeNumber{in.getNumber()}, fromWire<VolumeTag>(in.getId()), fromWire<ServerTag>(in.getServer()),
          in.getWeight(), in.getUsable()};
}

void writeVolume(const VolumeRecord& in, wire::Volume::Builder out) {
  out.setNumber(raw(in.number));
  toWire(in.id, out.initId());
  toWire(in.server, out.initServer());
  out.setWeight(in.weight);
  out.setUsable(in.usable);
}

ShardRecord readShard(wire::Shard::Reader in) {
  ShardRecord out;
  out.id = ShardId{in.getId()};
  out.epoch = Epoch{in.getEpoch()};
  out.primary = VolumeNumber{in.getPrimary()};
  out.inSync = readVolumes(in.getInSync());
  out.joining = readVolumes(in.getJoining());
  out.target = readVolumes(in.getTarget());
  return out;
}

void writeShard(const ShardRecord& in, wire::Shard::Builder out) {
  out.setId(raw(in.id));
  out.setEpoch(raw(in.epoch));
  out.setPrimary(raw(in.primary));
  writeVolumes(in.inSync, out.initInSync(in.inSync.size()));
  writeVolumes(in.joining, out.initJoining(in.joining.size()));
  writeVolumes(in.target, out.initTarget(in.target.size()));
}

ReplicationClass readClass(wire::ReplicationClass::Reader in) {
  return {ClassId{in.getId()}, in.getCopies(), in.getMinCopies(), in.getShardBits(), in.getLevel()};
}

void writeClass(const ReplicationClass& in, wire::ReplicationClass::Builder out) {
  out.setId(raw(in.id));
  out.setCopies(in.copies);
  out.setMinCopies(in.minCopies);
  out.setShardBits(in.shardBits);
  out.setLevel(in.level);
}

PeerRole fromWire(wire::Role role) {
  switch (role) {
    case wire::Role::CLIENT:
      return PeerRole::CLIENT;
    case wire::Role::CHUNKSERVER:
      return PeerRole::CHUNKSERVER;
    case wire::Role::MASTER:
      return PeerRole::MASTER;
    case wire::Role::ADMIN:
      return PeerRole::ADMIN;
  }
  return PeerRole::CLIENT;  // of a later version: the least that there is
}

wire::Role toWire(PeerRole role) {
  switch (role) {
    case PeerRole::CLIENT:
      return wire::Role::CLIENT;
    case PeerRole::CHUNKSERVER:
      return wire::Role::CHUNKSERVER;
    case PeerRole::MASTER:
      return wire::Role::MASTER;
    case PeerRole::ADMIN:
      return wire::Role::ADMIN;
  }
  return wire::Role::CLIENT;
}

Revocation readRevocation(wire::Revocation::Reader in) {
  return {fromWire(in.getRole()), in.getName().cStr(), in.getUntil()};
}

void writeRevocation(const Revocation& in, wire::Revocation::Builder out) {
  out.setRole(toWire(in.role));
  out.setName(in.name);
  out.setUntil(in.until);
}

bool ShardMap::apply(wire::ShardMap::Reader message) {
  MapVersion from{message.getFrom()};
  MapVersion to{message.getVersion()};
  if (to < version || (raw(from) != 0 && from != version)) {
    return false;
  }
  version = to;
  classes.clear();
  for (auto item : message.getClasses()) {
    auto record = readClass(item);
    classes[record.id] = record;
  }
  servers.clear();
  for (auto item : message.getServers()) {
    auto record = readServer(item);
    servers[record.id] = record;
  }
  volumes.clear();
  for (auto item : message.getVolumes()) {
    auto record = readVolume(item);
    volumes[record.number] = record;
  }
  if (raw(from) == 0) {
    shards.clear();
  }
  for (auto item : message.getShards()) {
    auto record = readShard(item);
    record.changed = to;
    shards[record.id] = std::move(record);
  }
  fenced.clear();
  for (uint64_t session : message.getFenced()) {
    fenced.insert(SessionId{session});
  }
  sealed.clear();
  for (uint64_t object : message.getSealed()) {
    sealed.insert(ObjectId{object});
  }
  revoked.clear();
  for (auto item : message.getRevoked()) {
    revoked.push_back(readRevocation(item));
  }
  return true;
}

void ShardMap::encode(wire::ShardMap::Builder out, MapVersion from) const {
  out.setVersion(raw(version));
  out.setFrom(raw(from));
  uint32_t i = 0;
  auto classList = out.initClasses(classes.size());
  for (auto& [id, record] : classes) {
    writeClass(record, classList[i++]);
  }
  i = 0;
  auto serverList = out.initServers(servers.size());
  for (auto& [id, record] : servers) {
    writeServer(record, serverList[i++]);
  }
  i = 0;
  auto volumeList = out.initVolumes(volumes.size());
  for (auto& [number, record] : volumes) {
    writeVolume(record, volumeList[i++]);
  }
  std::vector<const ShardRecord*> changed;
  for (auto& [id, record] : shards) {
    if (record.changed > from || raw(from) == 0) {
      changed.push_back(&record);
    }
  }
  auto shardList = out.initShards(changed.size());
  for (i = 0; i < changed.size(); ++i) {
    writeShard(*changed[i], shardList[i]);
  }
  i = 0;
  auto fencedList = out.initFenced(fenced.size());
  for (SessionId session : fenced) {
    fencedList.set(i++, raw(session));
  }
  i = 0;
  auto sealedList = out.initSealed(sealed.size());
  for (ObjectId object : sealed) {
    sealedList.set(i++, raw(object));
  }
  auto revokedList = out.initRevoked(revoked.size());
  for (i = 0; i < revoked.size(); ++i) {
    writeRevocation(revoked[i], revokedList[i]);
  }
}

const ShardRecord* ShardMap::shard(ShardId id) const {
  auto it = shards.find(id);
  return it == shards.end() ? nullptr : &it->second;
}

const ShardRecord* ShardMap::shard(ClassId cls, ChunkId chunk) const {
  auto it = classes.find(cls);
  return it == classes.end() ? nullptr : shard(shardOf(cls, it->second.shardBits, chunk));
}

const VolumeRecord* ShardMap::volume(VolumeNumber number) const {
  auto it = volumes.find(number);
  return it == volumes.end() ? nullptr : &it->second;
}

const ServerRecord* ShardMap::serverOf(VolumeNumber number) const {
  const VolumeRecord* record = volume(number);
  if (record == nullptr) {
    return nullptr;
  }
  auto it = servers.find(record->server);
  return it == servers.end() ? nullptr : &it->second;
}

}  // namespace cairn
