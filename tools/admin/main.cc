// dfsadmin: reads the command line, makes the seams, runs one verb.
#include <CLI/CLI.hpp>
#include <unistd.h>

#include <iostream>

#include "common/log.h"
#include "common/system/disk.h"
#include "common/system/host.h"
#include "common/system/runtime.h"
#include "rpc/system_network.h"
#include "tools/admin/output.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {
namespace {

int runVerb(Context& context, kj::WaitScope& scope, const Run& run) {
  try {
    return run(context).promise().wait(scope);
  } catch (kj::Exception& e) {
    if (e.getType() == kj::Exception::Type::DISCONNECTED || e.getType() == kj::Exception::Type::OVERLOADED) {
      return complain(EXIT_UNREACHABLE, std::string("the cluster stopped answering: ") + e.getDescription().cStr() +
                                            "; try again, or look at the daemons' logs");
    }
    return complain(EXIT_REFUSED, e.getDescription().cStr());
  }
}

int mainProgram(int argc, char** argv) {
  Runtime runtime(1);
  startLogging("dfsadmin", "warn");
  auto network = newSystemNetwork(runtime.io.provider->getNetwork());
  auto openDisk = [&runtime](const std::string& path) { return openSystemDisk(path, *runtime.workers); };
  Context context{*runtime.clock, *network, *runtime.random, openDisk,     thisHostId(),
                  workingDirectory(), mountTable(), isatty(STDERR_FILENO) == 1, {}, false};

  CLI::App app("dfsadmin looks after a CairnFS cluster.\nExit codes: 0 healthy or done, 1 degraded, 2 critical or "
               "refused, 3 unreachable, 64 usage.");
  app.footer("Example:\n  dfsadmin --cluster .dfs/cluster.toml status");
  app.fallthrough();
  app.require_subcommand(1);
  std::string output = "table";
  app.add_option("--cluster", context.clusterFile, "cluster.toml of the cluster (default: ./.dfs/cluster.toml, then "
                                                   "/etc/cairnfs/cluster.toml)")->envname("DFS_CLUSTER");
  app.add_option("-o,--output", output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}));
  Options options;
  Run run;
  for (auto add : {addStatus, addWait, addNode, addShard, addFile, addSession, addSpace, addCluster}) {
    add(app, options, run);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    auto unknown = app.remaining(true);
    std::string what = unknown.empty() ? e.what() : "there is no verb or option '" + unknown.front() + "'";
    return complain(EXIT_USAGE, what + "; see: dfsadmin --help");
  }
  context.json = output == "json";
  int code = runVerb(context, runtime.io.waitScope, run);
  std::cout << std::flush;
  return code;
}

}  // namespace
}  // namespace cairn::admin

int main(int argc, char** argv) { return cairn::admin::mainProgram(argc, argv); }
