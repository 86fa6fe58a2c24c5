// dfsadmin shard force: a shard whose copies in sync are all lost for good goes on from a copy that is older. A plan
// first, which names the loss; --apply does it.
#include <algorithm>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/master_link.h"
#include "tools/admin/shards.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

Task<Status> force(Context& context, wire::Admin::Client admin, ShardId shard, VolumeNumber volume, bool apply) {
  auto request = admin.forceShardRequest();
  request.setShard(raw(shard));
  request.setVolume(raw(volume));
  request.setApply(apply);
  kj::Promise<capnp::Response<wire::Admin::ForceShardResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "forcing a shard");
  co_return readOutcome(reply.getOutcome());
}

// The volumes that it could go on with: of the server that was named any one, else those that join or are wanted. How
// complete each is nobody here knows, so of several the administrator has to name one.
std::vector<VolumeNumber> candidates(const ShardMap& map, const ShardRecord& shard, const std::string& server) {
  std::vector<VolumeNumber> out;
  for (auto& [number, volume] : map.volumes) {
    const ServerRecord* record = map.serverOf(number);
    bool wanted = shard.isJoining(number) || std::count(shard.target.begin(), shard.target.end(), number) > 0;
    bool meant = server.empty() ? wanted && number != shard.primary : record != nullptr && record->name == server;
    if (meant && record != nullptr && record->online && volume.usable) {
      out.push_back(number);
    }
  }
  return out;
}

}  // namespace

Task<int> forceShard(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto admin = master.value()->admin;
  auto map = co_await readMap(context, admin);
  const ShardRecord* shard = map.shard(static_cast<ShardId>(options.id));
  if (shard == nullptr) {
    co_return complain(EXIT_REFUSED, "shard-not-found",
                       "there is no shard " + std::to_string(options.id) + "; see: dfsadmin shard list");
  }
  auto found = candidates(map, *shard, options.name);
  if (found.empty()) {
    co_return complain(EXIT_REFUSED, "force-impossible",
                       "no volume that had a copy of this shard is online; start its chunkserver, or name another with "
                       "--to, if all that the shard had may be lost");
  }
  if (found.size() > 1 && options.name.empty()) {
    co_return complain(EXIT_REFUSED, "force-ambiguous",
                       "several volumes could go on with this shard, and may have more or less of it: " +
                                         membersText(map, found) + "; name the server with --to");
  }
  VolumeNumber volume = found.front();
  auto outcome = co_await force(context, admin, shard->id, volume, options.apply);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "force-refused",
                       "shard " + std::to_string(options.id) + ": " + outcome.error().why);
  }
  std::string member = memberText(map, volume);
  std::string loss = "what was written to shard " + std::to_string(options.id) + " after " + member +
                     " was last in sync is lost for good, and all of it if " + member + " never was; up to now only " +
                     membersText(map, shard->inSync) + " had it";
  if (context.json) {
    printJson({{"shard", options.id}, {"goesOnWith", member}, {"loss", loss}, {"applied", options.apply}});
  } else {
    std::cout << "Shard " << options.id << (options.apply ? " goes on with " : " would go on with ") << member << ".\n"
              << "Loss: " << loss << ".\n"
              << (options.apply ? "" : "Nothing was done. To do it: the same with --apply\n");
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
