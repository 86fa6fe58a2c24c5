// dfsadmin inode path: by which names an inode is to be found.
#include <charconv>
#include <iostream>

#include "fuse-client/client/wire.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// All names of the directories that have it are looked at.
constexpr Nanos SEARCH_LIMIT = 60 * SECOND;

}  // namespace

Task<int> showInodePath(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto request = master.value()->admin.pathsRequest();
  request.setInode(options.id);
  kj::Promise<capnp::Response<wire::Admin::PathsResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, SEARCH_LIMIT, kj::mv(sent), "looking for the inode's names");
  auto outcome = readOutcome(reply.getOutcome());
  if (!outcome.ok()) {
    co_return complain(EXIT_REFUSED, "inode-not-found", outcome.error().why);
  }
  Json paths = Json::array();
  for (auto path : reply.getPaths()) {
    paths.push_back(textOf(path));
  }
  if (context.json) {
    printJson({{"inode", options.id}, {"paths", paths}});
    co_return EXIT_HEALTHY;
  }
  for (const auto& path : paths) {
    std::cout << path.get<std::string>() << "\n";
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
