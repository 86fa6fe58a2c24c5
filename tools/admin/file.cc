// dfsadmin file: where a file's chunks are.
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/file_path.h"
#include "tools/admin/output.h"
#include "tools/admin/paths.h"
#include "tools/admin/shards.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

Json chunkJson(const ShardMap& map, const ShardRecord& shard, uint32_t index) {
  return {{"index", index},
          {"shard", raw(shard.id)},
          {"state", shardState(map, shard)},
          {"epoch", raw(shard.epoch)},
          {"primary", shard.inSync.empty() ? Json(nullptr) : Json(raw(shard.primary))},
          {"inSync", membersJson(map, shard.inSync)},
          {"joining", membersJson(map, shard.joining)}};
}

}  // namespace

Task<int> locateFile(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto resolved = co_await resolveFile(context, *found.value(), options.path);
  if (!resolved.ok()) {
    co_return complain(EXIT_REFUSED, "path-not-found", resolved.error().why);
  }
  const auto& file = resolved.value();
  auto map = co_await readMap(context, found.value()->admin);
  Json chunks = Json::array();
  Table table({"CHUNK", "SHARD", "STATE", "EPOCH", "PRIMARY", "IN SYNC", "JOINING"});
  for (uint32_t i = 0; i < file.chunkCount(); ++i) {
    const auto* shard = map.shard(file.cls, ChunkId{file.object, i});
    if (shard == nullptr) {
      co_return complain(EXIT_REFUSED, "class-unknown",
                         file.path + ": its replication class " + std::to_string(raw(file.cls)) +
                                           " is not in the shard map; look at the master's log");
    }
    chunks.push_back(chunkJson(map, *shard, i));
    table.add({std::to_string(i), std::to_string(raw(shard->id)), shardState(map, *shard),
               std::to_string(raw(shard->epoch)), shard->inSync.empty() ? "-" : memberText(map, shard->primary),
               membersText(map, shard->inSync), membersText(map, shard->joining)});
  }
  if (context.json) {
    printJson({{"path", file.path}, {"inode", file.inode}, {"object", raw(file.object)}, {"sizeBytes", file.sizeBytes},
               {"chunkBytes", uint64_t{1} << file.chunkBits}, {"mapVersion", raw(map.version)}, {"chunks", chunks}});
  } else {
    std::cout << file.path << ": inode " << file.inode << ", object " << raw(file.object) << ", "
              << sizeText(file.sizeBytes) << ", " << file.chunkCount() << " chunks\n";
    table.print();
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
