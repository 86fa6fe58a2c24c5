#include "master/propose_map.h"

#include <cerrno>

#include "master/propose.h"

namespace cairn {

Task<Result<Applied>> proposeMap(Replica& replica, const MapChange& change) {
  MapVersion expected = replica.reader().map().version;
  return propose(replica, [&](wire::Command::Builder command) {
    auto out = command.initCluster();
    out.setExpected(raw(expected));
    uint32_t i = 0;
    auto servers = out.initServers(change.servers.size());
    for (auto& server : change.servers) {
      writeServer(server, servers[i++]);
    }
    i = 0;
    auto volumes = out.initVolumes(change.volumes.size());
    for (auto& volume : change.volumes) {
      writeVolume(volume, volumes[i++]);
    }
    i = 0;
    auto shards = out.initShards(change.shards.size());
    for (auto& shard : change.shards) {
      writeShard(shard, shards[i++]);
    }
    i = 0;
    auto classes = out.initClasses(change.classes.size());
    for (auto& cls : change.classes) {
      writeClass(cls, classes[i++]);
    }
    i = 0;
    auto removed = out.initRemovedServers(change.removed.size());
    for (auto& server : change.removed) {
      toWire(server, removed[i++]);
    }
  });
}

Task<Result<Applied>> proposeDrop(Replica& replica, const MapChange& change, Roster& roster,
                                  std::set<ServerId> dropped) {
  roster.beginDrop(dropped);
  auto applied = co_await proposeMap(replica, change);
  if (applied.ok() || applied.code() != EIO) {
    roster.endDrop(dropped, outcomeOf(applied).ok() ? replica.reader().map().version : MapVersion{});
  }
  co_return kj::mv(applied);
}

}  // namespace cairn
