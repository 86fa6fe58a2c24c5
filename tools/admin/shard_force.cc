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

// The volume to go on with: of the server that was named, or else the first that joins or is wanted, and is online.
std::optional<VolumeNumber> choose(const ShardMap& map, const ShardRecord& shard, const std::string& server) {
  std::vector<VolumeNumber> all = shard.joining;
  all.insert(all.end(), shard.target.begin(), shard.target.end());
  for (auto& [number, volume] : map.volumes) {
    all.push_back(number);
  }
  for (VolumeNumber number : all) {
    const ServerRecord* record = map.serverOf(number);
    bool wanted = record != nullptr && record->online && map.volume(number)->usable;
    if (wanted && (server.empty() ? number != shard.primary : record->name == server)) {
      return number;
    }
  }
  return std::nullopt;
}

}  // namespace

Task<int> forceShard(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto admin = found.value()->admin;
  auto map = co_await readMap(context, admin);
  const ShardRecord* shard = map.shard(static_cast<ShardId>(options.id));
  if (shard == nullptr) {
    co_return complain(EXIT_REFUSED, "there is no shard " + std::to_string(options.id) + "; see: dfsadmin shard list");
  }
  auto volume = choose(map, *shard, options.name);
  if (!volume) {
    co_return complain(EXIT_REFUSED, "no volume that is online could go on with this shard; start a chunkserver");
  }
  auto outcome = co_await force(context, admin, shard->id, *volume, options.apply);
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "shard " + std::to_string(options.id) + ": " + outcome.error().why);
  }
  std::string member = memberText(map, *volume);
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
