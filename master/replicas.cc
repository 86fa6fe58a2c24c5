#include "master/replicas.h"

#include <capnp/message.h>
#include <sys/stat.h>

#include "common/log.h"
#include "master/copy_existing.h"
#include "master/propose.h"
#include "master/propose_map.h"

namespace cairn {
namespace {

constexpr unsigned TRIES_MAX = 20;  // the map may be changing all the time
constexpr Nanos PLACED_LOOK = 20 * MILLISECOND;
constexpr Nanos PLACED_LIMIT = 10 * SECOND;

struct Place {
  InodeId inode{};
  bool isDirectory = false;
  ClassId cls{};
};

Result<Place> find(const NamespaceReader& reader, const std::string& path) {
  capnp::MallocMessageBuilder message;
  auto attributes = message.initRoot<wire::Attributes>();
  auto found = reader.resolve(path, attributes);
  if (!found.ok()) {
    return found.error();
  }
  Place place;
  place.inode = InodeId{attributes.getInode()};
  place.isDirectory = S_ISDIR(attributes.getMode());
  if (!place.isDirectory && !S_ISREG(attributes.getMode())) {
    return Error{EINVAL, "it has no bytes to have copies of: name a directory or a file"};
  }
  auto cls = reader.classOf(place.inode);
  if (!cls.ok()) {
    return cls.error();
  }
  place.cls = cls.value();
  return place;
}

// The placement rules place it with their next look, if enough domains are here then.
Task<Status> waitPlaced(Core& core, ClassId cls) {
  for (Nanos waited = 0; core.replica.reader().map().shard(makeShardId(cls, 0)) == nullptr; waited += PLACED_LOOK) {
    if (waited >= PLACED_LIMIT) {
      co_return Error{EAGAIN, "its shards could not be placed yet; look at dfsadmin status, and try again"};
    }
    co_await core.clock.after(PLACED_LOOK);
  }
  co_return Status();
}

// Recalls what mounts believe of the directory first, as for any change of its attributes.
Task<Status> setClass(Core& core, InodeId inode, ClassId cls) {
  Leases::Change change(core.sessions.leases(), SessionId{});
  change.add(inode);
  while (change.mustRecall()) {
    co_await change.recall();
  }
  auto fill = [inode, cls](wire::Command::Builder command) {
    auto out = command.initClassChange().initSet();
    out.setInode(raw(inode));
    out.setClass(raw(cls));
  };
  auto applied = co_await propose(core.replica, fill);
  co_return outcomeOf(applied);
}

// What would be done, step by step.
std::string planText(const ShardMap& map, const ReplicasWish& wish, const Place& place) {
  auto now = map.classes.find(place.cls);
  std::string text;
  if (now != map.classes.end()) {
    text = "now " + describe({now->second.copies, now->second.level}) + "; then " + describe(wish.cls);
  }
  std::string level = levelName(wish.cls.level);
  auto domains = usableDomains(map, wish.cls.level);
  text += "; " + std::to_string(domains.size()) + " " + level + (domains.size() == 1 ? "" : "s") + " in service";
  size_t silent = 0;
  for (auto& [id, server] : map.servers) {
    silent += !saysDomain(server, wish.cls.level);
  }
  if (silent > 0) {
    text += "; of " + std::to_string(silent) + " servers the " + level + " is not known: each counts as one of its own";
  }
  if (findClass(map, wish.cls) == nullptr) {
    auto made = newClass(map, wish.cls);
    text += "; to be made: a replication class of " + std::to_string(1u << made.shardBits) + " shards";
  }
  return text;
}

}  // namespace

Task<Result<ClassId>> ensureClass(Core& core, ClassWish wish) {
  for (unsigned tries = 0; tries < TRIES_MAX; ++tries) {
    auto& map = core.replica.reader().map();
    auto sound = mayHave(map, wish);
    if (!sound.ok()) {
      co_return sound.error();
    }
    const ReplicationClass* found = findClass(map, wish);
    if (found != nullptr) {
      ClassId id = found->id;
      auto placed = co_await waitPlaced(core, id);
      if (!placed.ok()) {
        co_return placed.error();
      }
      co_return id;
    }
    MapChange change;
    change.classes.push_back(newClass(map, wish));
    auto applied = co_await proposeMap(core.replica, change);
    auto outcome = outcomeOf(applied);
    if (outcome.ok()) {
      spdlog::info("a replication class was made: {}", describe(wish));
    } else if (outcome.code() != EAGAIN) {
      co_return outcome.error();
    }
  }
  co_return Error{EAGAIN, "the shard map changes too fast; try again"};
}

Task<Result<ReplicasDone>> setReplicas(Core& core, ReplicasWish wish) {
  auto barrier = co_await core.replica.readBarrier();
  if (!barrier.ok()) {
    throwUnwritten(barrier.error());
  }
  auto& reader = core.replica.reader();
  auto found = find(reader, wish.path);
  if (!found.ok()) {
    co_return found.error();
  }
  Place place = found.value();
  if (!place.isDirectory && !wish.existing) {
    co_return Error{EINVAL, "it is a file: its bytes are there already, and would have to be copied"};
  }
  auto sound = mayHave(reader.map(), wish.cls);
  auto copying = wish.existing ? mayCopyExisting(core) : Status();
  if (!sound.ok() || !copying.ok()) {
    co_return sound.ok() ? copying.error() : sound.error();
  }
  ReplicasDone done;
  done.text = planText(reader.map(), wish, place);
  if (!wish.apply) {
    co_return kj::mv(done);
  }
  auto cls = co_await ensureClass(core, wish.cls);
  if (!cls.ok()) {
    co_return cls.error();
  }
  if (place.isDirectory) {
    auto set = co_await setClass(core, place.inode, cls.value());
    if (!set.ok()) {
      co_return set.error();
    }
  }
  if (wish.existing) {
    auto task = co_await copyExisting(core, place.inode, wish.path, cls.value());
    if (!task.ok()) {
      co_return task.error();
    }
    done.task = task.value();
  }
  co_return kj::mv(done);
}

}  // namespace cairn
