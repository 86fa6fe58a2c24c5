// The shard map as every program holds it: which volumes keep which shard, and where their servers are.
// A value: decoded from the wire, changed only by applying a delta (clients, chunkservers) or a log entry (master).
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/security/identity.h"
#include "schema/types.capnp.h"

namespace cairn {

struct ReplicationClass {
  ClassId id{};
  uint8_t copies = 3;
  uint8_t minCopies = 2;
  uint8_t shardBits = DEFAULT_SHARD_BITS;
  wire::FailureDomain level = wire::FailureDomain::SERVER;  // no two copies of a shard share one of these
  bool operator==(const ReplicationClass&) const = default;
};

struct ServerRecord {
  ServerId id;
  std::string name;
  Incarnation incarnation;
  std::string address;  // host:port
  std::string socket;   // Unix socket path on its own host; may be empty
  std::string hostId;   // equal on the same machine
  wire::ServerState state = wire::ServerState::IN_SERVICE;
  bool online = false;
  uint32_t maintenanceSeconds = 0;  // in maintenance: for how long
  bool untilBack = false;           // or until it is back, if that is sooner
  std::string rack;                 // failure domains that it is in; empty: not known
  std::string zone;
  bool operator==(const ServerRecord&) const = default;
};

struct VolumeRecord {
  VolumeNumber number{};
  VolumeId id;
  ServerId server;
  uint32_t weight = 1;
  bool usable = true;
  bool operator==(const VolumeRecord&) const = default;
};

struct ShardRecord {
  ShardId id{};
  Epoch epoch{};
  VolumeNumber primary{};
  std::vector<VolumeNumber> inSync;
  std::vector<VolumeNumber> joining;
  std::vector<VolumeNumber> target;
  MapVersion changed{};  // the map version that brought this record; not on the wire
  bool isInSync(VolumeNumber volume) const;
  bool isJoining(VolumeNumber volume) const;
};

struct ShardMap {
  MapVersion version{};
  std::map<ClassId, ReplicationClass> classes;
  std::map<ServerId, ServerRecord> servers;
  std::map<VolumeNumber, VolumeRecord> volumes;
  std::map<ShardId, ShardRecord> shards;
  std::set<SessionId> fenced;
  std::set<ObjectId> sealed;  // that no client reads or changes: those left for another class, those being filled
  std::vector<Revocation> revoked;

  // Takes over a complete map, or a delta whose `from` is this version. False (and unchanged) when a delta starts
  // elsewhere, or when the message is older than what is here.
  bool apply(wire::ShardMap::Reader message);
  // Writes what changed after `from`; everything when `from` is 0.
  void encode(wire::ShardMap::Builder out, MapVersion from) const;

  // nullptr when the class or the shard isn't known (yet).
  const ShardRecord* shard(ClassId cls, ChunkId chunk) const;
  const ShardRecord* shard(ShardId id) const;
  const VolumeRecord* volume(VolumeNumber number) const;
  const ServerRecord* serverOf(VolumeNumber number) const;
};

template <typename Tag>
Uuid<Tag> fromWire(wire::Uuid::Reader in) {
  return {in.getHigh(), in.getLow()};
}
template <typename Tag>
void toWire(const Uuid<Tag>& id, wire::Uuid::Builder out) {
  out.setHigh(id.high);
  out.setLow(id.low);
}

ServerRecord readServer(wire::Server::Reader in);
void writeServer(const ServerRecord& in, wire::Server::Builder out);
VolumeRecord readVolume(wire::Volume::Reader in);
void writeVolume(const VolumeRecord& in, wire::Volume::Builder out);
ShardRecord readShard(wire::Shard::Reader in);
void writeShard(const ShardRecord& in, wire::Shard::Builder out);
ReplicationClass readClass(wire::ReplicationClass::Reader in);
void writeClass(const ReplicationClass& in, wire::ReplicationClass::Builder out);
Revocation readRevocation(wire::Revocation::Reader in);
void writeRevocation(const Revocation& in, wire::Revocation::Builder out);
PeerRole fromWire(wire::Role role);
wire::Role toWire(PeerRole role);

}  // namespace cairn
