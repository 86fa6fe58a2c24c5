// dfs-mount: makes the seams, the client and the FUSE session, and sees to an orderly end.
#include <kj/debug.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "common/cluster_file.h"
#include "common/log.h"
#include "common/system/runtime.h"
#include "fuse-client/client/client.h"
#include "fuse-client/fuse/arrival.h"
#include "fuse-client/fuse/daemon.h"
#include "fuse-client/fuse/fuse_session.h"
#include "fuse-client/fuse/mountpoint.h"
#include "fuse-client/fuse/operations.h"
#include "fuse-client/fuse/options.h"
#include "fuse-client/fuse/processes.h"
#include "rpc/connection.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

// At the end of a mount: how long it may take to write everything out, and to get out of the tree.
constexpr Nanos FLUSH_MAX = 60 * SECOND;
constexpr Nanos UNMOUNT_MAX = 5 * SECOND;
constexpr uint64_t KERNEL_READ_AHEAD_BYTES = 4 << 20;
constexpr unsigned KERNEL_WAITERS = 2;

std::string hostId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::string hostName() {
  char name[HOST_NAME_MAX + 1] = {};
  ::gethostname(name, HOST_NAME_MAX);
  return name;
}

ClientOptions clientOptions(const MountOptions& options) {
  ClientOptions out;
  out.name = hostName() + ":" + options.mountPoint;
  out.hostId = hostId();
  out.softTimeoutNanos = options.softTimeout;
  out.synchronous = options.synchronous;
  out.accessTimes = options.readOnly ? AccessTimes::NEVER : options.accessTimes;
  out.directoryAccessTimes = options.directoryAccessTimes;
  if (options.cacheBytes > 0) {
    constexpr uint64_t SHARES = 3;
    out.limits.dirtyBytesMax = out.limits.unsyncedBytesMax = out.limits.readAheadBytesMax = options.cacheBytes / SHARES;
  }
  return out;
}

class MountProgram {
 public:
  MountProgram(const MountOptions& options, const ClusterFile& cluster, Background& background)
      : options_(options),
        background_(background),
        network_(newSystemNetwork(runtime_.io)),
        client_(*runtime_.clock, *network_, *runtime_.random, cluster, clientOptions(options)),
        processes_(newSystemProcesses()),
        stop_(runtime_.stopRequested().fork()) {
    for (const auto& master : cluster.masters) {
      masters_ += (masters_.empty() ? "" : ", ") + master.name + " at " + master.address;
    }
  }

  int run() {
    auto connected = connect();
    if (!connected.ok()) {
      return background_.failed(connected.error().code, connected.error().why);
    }
    auto root = findRoot();
    if (!root.ok()) {
      return background_.failed(root.error().code, root.error().why);
    }
    Operations operations(client_, *runtime_.clock, *runtime_.workers, *kernelWaiters_, *processes_, arrival_, options_,
                          root.value());
    kj::Promise<Result<Attributes>> named = client_.lookup(root.value(), OwnFiles::DIRECTORY, Caller{});
    if (named.wait(runtime_.io.waitScope).ok()) {
      spdlog::warn("the root has a '{}' of its own: it hides what the mount tells of itself", OwnFiles::DIRECTORY);
      operations.hideOwnFiles();
    }
    auto session = kj::heap<FuseSession>(runtime_.io.unixEventPort, *runtime_.clock, operations, arrival_);
    auto mounted = session->mount(options_);
    if (!mounted.ok()) {
      return background_.failed(mounted.error().code, mounted.error().why);
    }
    serve(*session, operations);
    operations.connected(-1);
    operations.giveUp();
    session = nullptr;
    return finish();
  }

 private:
  // Nothing of this goes on when it returns, though the mount may have been cut off with requests unanswered.
  void serve(FuseSession& session, Operations& operations) {
    auto served = kj::Promise<void>(session.serve()).fork();
    auto ready = session.onReady().exclusiveJoin(served.addBranch());
    wait(kj::mv(ready));
    operations.connected(session.descriptor());
    device_ = mountedDevice(options_.mountPoint);
    raiseReadAhead(options_.mountPoint, KERNEL_READ_AHEAD_BYTES);
    spdlog::info("mounted {} on {}", options_.fsname, options_.mountPoint);
    background_.ready();
    wait(served.addBranch().exclusiveJoin(stop_.addBranch()));
    takeDown(session, served);
  }

  void wait(kj::Promise<void> promise) { promise.wait(runtime_.io.waitScope); }

  // Whether `promise` came to its end in time; false with a log line when it did not.
  bool waitAtMost(Nanos limit, kj::Promise<void> promise, const char* what) {
    auto failure =
        kj::runCatchingExceptions([&] { wait(withDeadline(*runtime_.clock, limit, kj::mv(promise), what)); });
    KJ_IF_MAYBE (exception, failure) {
      spdlog::error("{}: {}", what, exception->getDescription().cStr());
      return false;
    }
    return true;
  }

  Status connect() {
    bool stopped = false;
    auto stop = stop_.addBranch().then([&stopped]() -> Status {
      stopped = true;
      return {};
    });
    auto late = runtime_.clock->after(options_.connectTimeout).then([this]() -> Status {
      return Error{EXIT_UNREACHABLE, "no master of the cluster answers within " +
                                         std::to_string(options_.connectTimeout / SECOND) + " s (" + masters_ +
                                         "). Is the cluster up? See 'dfsadmin --cluster " + options_.clusterFile +
                                         " status'"};
    });
    kj::Promise<Status> started = client_.start();
    auto status = started.exclusiveJoin(kj::mv(stop)).exclusiveJoin(kj::mv(late)).wait(runtime_.io.waitScope);
    if (stopped) {
      return Error{EXIT_FAILED, "stopped before a master answered"};
    }
    if (!status.ok() && status.error().code != EXIT_UNREACHABLE) {
      return Error{EXIT_REFUSED, "the cluster refuses this client: " + status.error().why};
    }
    return status;
  }

  // The directory that the mount shows: the root of the cluster, or subdir=.
  Result<InodeId> findRoot() {
    InodeId at = ROOT_INODE;
    std::string path = options_.subdir + "/";
    std::string name;
    for (char c : path) {
      if (c != '/') {
        name += c;
        continue;
      }
      if (name.empty()) {
        continue;
      }
      kj::Promise<Result<Attributes>> asked = client_.lookup(at, name, Caller{});
      auto found = asked.wait(runtime_.io.waitScope);
      if (!found.ok()) {
        return Error{EXIT_REFUSED, "subdir=" + options_.subdir + ": '" + name + "': " + found.error().why +
                                       ". Mount without subdir= and make the directory first"};
      }
      if (!S_ISDIR(found.value().mode)) {
        return Error{EXIT_REFUSED, "subdir=" + options_.subdir + ": '" + name + "' is not a directory"};
      }
      at = found.value().inode;
      name.clear();
    }
    return at;
  }

  // After SIGTERM the mount is still in the tree: write out, then unmount while answering what the kernel still
  // has to say. After an unmount from outside there is nothing left to do here.
  void takeDown(FuseSession& session, kj::ForkedPromise<void>& served) {
    bool gone = false;
    auto watch = served.addBranch().then([&gone] { gone = true; }).eagerlyEvaluate(nullptr);
    wait(kj::evalLast([] {}));
    if (gone) {
      spdlog::info("{} was unmounted; writing out what is left", options_.mountPoint);
      leaveNothingBehind(session);
      return;
    }
    spdlog::info("asked to stop: writing out, then unmounting {}", options_.mountPoint);
    kj::Promise<Status> synced = client_.syncAll();
    waitAtMost(FLUSH_MAX, synced.then([](Status&& status) { logStatus(status); }), "writing out before the unmount");
    if (startUnmount(options_.mountPoint, session.descriptor()) < 0) {
      spdlog::error("no process for the unmount could be started; the mount is cut off");
      return;
    }
    waitAtMost(UNMOUNT_MAX, kj::mv(watch), "unmounting (open files are cut off)");
  }

  // A connection that was ended by force leaves a mount that answers nothing, where somebody is still in it.
  void leaveNothingBehind(FuseSession& session) {
    if (!device_.empty() && mountedDevice(options_.mountPoint) == device_) {
      startUnmount(options_.mountPoint, session.descriptor());
    }
  }

  int finish() {
    bool clean = false;
    kj::Promise<Status> stopping = client_.stop();
    auto stopped = stopping.then([&clean](Status&& status) {
      logStatus(status);
      clean = status.ok();
    });
    return waitAtMost(FLUSH_MAX, kj::mv(stopped), "writing out at the end") && clean ? EXIT_DONE : EXIT_FAILED;
  }

  static void logStatus(const Status& status) {
    if (!status.ok()) {
      spdlog::error("data was not written: {}", status.error().why);
    }
  }

  const MountOptions& options_;
  Background& background_;
  std::string masters_;
  std::string device_;  // the mount's
  Runtime runtime_;
  kj::Own<Network> network_;
  Client client_;
  kj::Own<Workers> kernelWaiters_ = newSystemWorkers(KERNEL_WAITERS);
  std::unique_ptr<Processes> processes_;
  Arrival arrival_;
  kj::ForkedPromise<void> stop_;
};

int refuse(const Error& error) {
  std::cerr << "dfs-mount: " << error.why << "\n";
  return error.code;
}

int program(const std::vector<std::string>& arguments) {
  bool asRoot = ::geteuid() == 0;
  auto parsed = parseCommandLine(arguments, asRoot);
  if (auto* exit = std::get_if<EarlyExit>(&parsed)) {
    (exit->code == EXIT_DONE ? std::cout : std::cerr) << exit->text;
    return exit->code;
  }
  MountOptions options = std::get<MountOptions>(parsed);
  options.clusterFile = absolutePath(options.clusterFile);
  auto cluster = readClusterFile(options.clusterFile);
  if (!cluster.ok()) {
    return refuse(Error{EXIT_REFUSED, cluster.error().why});
  }
  auto host = checkHost(options, asRoot);
  if (!host.ok()) {
    return refuse(host.error());
  }
  options.mountPoint = absolutePath(options.mountPoint);
  if (options.checkOnly) {
    return EXIT_DONE;
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  Background background(options);
  // On a terminal that gets its prompt back, only what went wrong.
  bool quiet = !options.foreground && options.logFile.empty() && options.logLevel == "info";
  startLogging("dfs-mount", quiet ? "warn" : options.logLevel.c_str());
  prepareProcess();
  try {
    return MountProgram(options, cluster.value(), background).run();
  } catch (const kj::Exception& exception) {
    return background.failed(EXIT_FAILED, std::string("internal error: ") + exception.getDescription().cStr());
  }
}

}  // namespace
}  // namespace cairn

int main(int argc, char* argv[]) {
  return cairn::program(std::vector<std::string>(argv + 1, argv + argc));
}
