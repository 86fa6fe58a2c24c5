// The cluster's own records: the first entry, and changes of the shard map.
#include <sys/stat.h>

#include <cerrno>

#include "common/epochs.h"
#include "master/namespace/audit.h"
#include "master/namespace/keys.h"
#include "master/namespace/operations.h"

namespace cairn {

namespace {

constexpr size_t MEMBERSHIPS_KEPT = 64;
constexpr size_t TERMS_KEPT = 256;
// More than a group could have given out between what one member knows and its end.
constexpr uint64_t LEAP = uint64_t{1} << HISTORY_SHIFT;
constexpr uint32_t GENERATION_LEAP = 1u << 20;  // of 32 bits: enough for 4096 recoveries

void makeRoot(Execution& execution, wire::Format::Reader command, ClassId cls) {
  InodeRecord root;
  root.id = ROOT_INODE;
  root.mode = S_IFDIR | ROOT_MODE;
  root.uid = command.getUid();
  root.gid = command.getGid();
  root.links = 2;
  root.accessed = root.modified = root.changed = root.created = execution.now();
  root.parent = ROOT_INODE;
  root.nextCookie = NamespaceReader::FIRST_COOKIE;
  root.cls = cls;
  root.chunkBits = DEFAULT_CHUNK_BITS;
  save(execution, root);
}

void putClass(Execution& execution, const ReplicationClass& record) {
  execution.store.put(keys::classRecord(record.id), encode(record));
  execution.map.classes[record.id] = record;
}

// A volume's number is never given again: the record of the highest stays, on no server.
void removeServer(Execution& execution, ServerId id) {
  auto& map = execution.map;
  for (auto it = map.volumes.begin(); it != map.volumes.end();) {
    bool highest = std::next(it) == map.volumes.end();
    if (it->second.server != id) {
      ++it;
    } else if (highest) {
      it->second = VolumeRecord{it->first, VolumeId(), ServerId(), 1, false};
      execution.store.put(keys::volume(it->first), encode(it->second));
      ++it;
    } else {
      execution.store.erase(keys::volume(it->first));
      it = map.volumes.erase(it);
    }
  }
  execution.store.erase(keys::server(id));
  map.servers.erase(id);
}

}  // namespace

Status format(Execution& execution, wire::Format::Reader command) {
  if (!execution.head.cluster.isNull()) {
    return Error{EEXIST, "the cluster exists already"};
  }
  if (command.getClasses().size() == 0) {
    return Error{EINVAL, "a cluster needs a replication class"};
  }
  execution.head.cluster = fromWire<ClusterTag>(command.getCluster());
  execution.head.nextInode = raw(ROOT_INODE) + 1;
  execution.head.nextObject = 1;
  execution.head.nextSession = 1;
  execution.head.nextQueueId = 1;
  execution.head.inodes = 1;
  for (auto item : command.getClasses()) {
    putClass(execution, readClass(item));
  }
  makeRoot(execution, command, ClassId{command.getClasses()[0].getId()});
  execution.head.counted = true;
  execution.accounts.put(ROOT_INODE, Account());
  raiseMap(execution);
  return {};
}

// At the first entry of a term.
void beginTerm(Execution& execution, uint64_t drawn) {
  std::vector<std::string> old;
  for (auto at = execution.store.scan(keys::TERMS); at.valid(); at.next()) {
    old.emplace_back(at.key());
  }
  for (size_t i = 0; i + TERMS_KEPT <= old.size(); ++i) {
    execution.store.erase(old[i]);
  }
  auto& head = execution.head;
  execution.store.put(keys::term(head.term), encode(TermBegin{head.term, head.index, drawn}));
}

// The newest ones are kept: a snapshot that is a little older than the state needs the one of its time.
Status changeMembership(Execution& execution, capnp::Data::Reader membership) {
  std::vector<std::string> old;
  for (auto at = execution.store.scan(keys::MEMBERSHIPS); at.valid(); at.next()) {
    old.emplace_back(at.key());
  }
  for (size_t i = 0; i + MEMBERSHIPS_KEPT <= old.size(); ++i) {
    execution.store.erase(old[i]);
  }
  execution.store.put(keys::membership(execution.head.index), std::string(viewOf(membership)));
  return {};
}

// A leader that hasn't seen its predecessor's entry asks twice.
Status raiseLevel(Execution& execution, uint32_t level) {
  std::string now;
  bool known = execution.store.get(keys::FEATURE_LEVEL, now);
  if (level <= (known ? decodeNumber(now) : FIRST_FEATURE_LEVEL)) {
    return Error{EALREADY, "the cluster has that feature level"};
  }
  execution.store.put(std::string(keys::FEATURE_LEVEL), encodeNumber(level));
  execution.changes.level = true;
  return {};
}

// What was acknowledged elsewhere and is lost here may have given out inodes, objects, sessions, generations of
// layouts, epochs of shards and versions of the map: chunkservers and clients still know them, and they mustn't come to
// mean something else. Cuts that are there keep their generations: of a later one they would take living bytes.
Status leap(Execution& execution, GroupEpoch epoch) {
  auto& head = execution.head;
  head.nextInode += LEAP;
  head.nextObject += LEAP;
  head.nextSession += LEAP;
  head.nextQueueId += LEAP;
  head.generationBase += GENERATION_LEAP;
  execution.store.setGenerationBase(head.generationBase);
  head.map = MapVersion{raw(head.map) + LEAP};
  execution.map.version = head.map;
  execution.changes.map = true;
  for (auto& [id, shard] : execution.map.shards) {
    shard.epoch = Epoch{raw(shard.epoch) + LEAP};
    shard.changed = head.map;
    execution.store.put(keys::shard(id), encode(shard));
  }
  execution.store.put(std::string(keys::GROUP_EPOCH), encodeNumber(raw(epoch)));
  noteAction(execution, "dfsadmin raft recover", "the group was begun anew from one master: epoch " + toText(epoch));
  return {};
}

void raiseMap(Execution& execution) {
  execution.head.map = next(execution.head.map);
  execution.map.version = execution.head.map;
  execution.changes.map = true;
}

void fence(Execution& execution, SessionId session, bool fenced) {
  if (fenced) {
    execution.store.put(keys::fence(session), {});
    execution.map.fenced.insert(session);
  } else {
    execution.store.erase(keys::fence(session));
    execution.map.fenced.erase(session);
  }
}

Status unfence(Execution& execution, capnp::List<uint64_t>::Reader sessions) {
  bool any = false;
  for (uint64_t id : sessions) {
    if (execution.map.fenced.count(SessionId{id}) > 0) {
      fence(execution, SessionId{id}, false);
      any = true;
    }
  }
  if (any) {
    raiseMap(execution);
  }
  return {};
}

Status changeCluster(Execution& execution, wire::ClusterChange::Reader command) {
  if (MapVersion{command.getExpected()} != execution.head.map) {
    return Error{EAGAIN, "the shard map has changed meanwhile"};
  }
  raiseMap(execution);
  for (auto item : command.getClasses()) {
    putClass(execution, readClass(item));
  }
  for (auto item : command.getServers()) {
    auto record = readServer(item);
    execution.store.put(keys::server(record.id), encode(record));
    execution.map.servers[record.id] = record;
  }
  for (auto item : command.getVolumes()) {
    auto record = readVolume(item);
    execution.store.put(keys::volume(record.number), encode(record));
    execution.map.volumes[record.number] = record;
  }
  for (auto item : command.getShards()) {
    auto record = readShard(item);
    record.changed = execution.head.map;
    execution.store.put(keys::shard(record.id), encode(record));
    execution.map.shards[record.id] = record;
  }
  for (auto item : command.getRemovedServers()) {
    removeServer(execution, fromWire<ServerTag>(item));
  }
  return {};
}

}  // namespace cairn
