// dfsadmin: makes the seams, reads the command line, runs one verb.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "common/log.h"
#include "common/system/disk.h"
#include "common/system/host.h"
#include "common/system/runtime.h"
#include "rpc/connection.h"
#include "rpc/system_network.h"
#include "tools/admin/command_line.h"

namespace cairn::admin {
namespace {

constexpr mode_t PUBLIC_MODE = 0644;

int runVerb(Context& context, kj::WaitScope& scope, Verb verb, const Options& options) {
  try {
    return verb(context, options).promise().wait(scope);
  } catch (kj::Exception& e) {
    if (isRetryable(e)) {
      return complain(EXIT_UNREACHABLE, "stopped-answering",
                      std::string("the cluster stopped answering: ") + e.getDescription().cStr() +
                                            "; try again, or look at the daemons' logs");
    }
    return complain(EXIT_REFUSED, "internal-error", e.getDescription().cStr());
  }
}

int mainProgram(int argc, char** argv) {
  Runtime runtime(1);
  startLogging("dfsadmin", "warn");
  auto network = newSystemNetwork(runtime.io);
  Context context{*runtime.clock, *network, *runtime.random};
  context.openDisk = [&runtime](const std::string& path) { return openSystemDisk(path, *runtime.workers); };
  context.env = leveldb::Env::Default();
  context.hostId = thisHostId();
  context.caller = thisUserName() + "@" + thisHostName();
  context.workingDirectory = workingDirectory();
  context.mounts = mountTable();
  context.readTexts = &readTextsWithin;
  context.threadsOf = &threadsOf;
  context.publish = [](const std::string& path) {
    if (chmod(path.c_str(), PUBLIC_MODE) != 0) {
      std::cerr << "dfsadmin: only this user can read " << path << ": " << strerror(errno) << "\n";
    }
  };
  context.terminal = isatty(STDERR_FILENO) == 1;
  int code = runCommandLine(argc, argv, context, [&](Verb verb, const Options& options) {
    return runVerb(context, runtime.io.waitScope, verb, options);
  });
  std::cout << std::flush;
  return code;
}

}  // namespace
}  // namespace cairn::admin

int main(int argc, char** argv) { return cairn::admin::mainProgram(argc, argv); }
