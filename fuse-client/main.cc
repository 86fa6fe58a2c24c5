// dfs-mount: makes the seams, the client and the FUSE session, and sees to an orderly end.
#include <fcntl.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "common/cluster_file.h"
#include "common/log.h"
#include "common/system/runtime.h"
#include "common/system/security_files.h"
#include "fuse-client/client/client.h"
#include "fuse-client/fuse/arrival.h"
#include "fuse-client/fuse/daemon.h"
#include "fuse-client/fuse/fuse_session.h"
#include "fuse-client/fuse/holder.h"
#include "fuse-client/fuse/kept_state.h"
#include "fuse-client/fuse/mountpoint.h"
#include "fuse-client/fuse/operations.h"
#include "fuse-client/fuse/options.h"
#include "fuse-client/fuse/processes.h"
#include "rpc/connection.h"
#include "rpc/metrics_pages.h"
#include "rpc/system_network_setup.h"

namespace cairn {
namespace {

// At the end of a mount: how long it may take to write everything out, and to get out of the tree.
constexpr Nanos FLUSH_MAX = 60 * SECOND;
constexpr Nanos UNMOUNT_MAX = 5 * SECOND;
// Before handing over: how long what was asked may take to be answered, and what that has written to be written out.
constexpr Nanos SETTLE_MAX = SECOND;
constexpr Nanos PAUSE_MAX = 5 * SECOND;
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
  out.slow = options.slow;
  if (options.cacheBytes > 0) {
    constexpr uint64_t SHARES = 3;
    out.limits.dirtyBytesMax = out.limits.unsyncedBytesMax = out.limits.readAheadBytesMax = options.cacheBytes / SHARES;
  }
  return out;
}

OwnIdentity ownIdentity(const MountOptions& options, const ClusterFile& cluster) {
  bool named = !options.identity.empty();
  return {PeerRole::CLIENT, named ? options.identity : usualIdentity(cluster.securityDirectory, PeerRole::CLIENT)};
}

class MountProgram {
 public:
  // `place`: of a worker.
  MountProgram(const MountOptions& options, const ClusterFile& cluster, const TcpSecurity& security,
               Background& background, kj::Maybe<WorkerPlace> place)
      : options_(options),
        background_(background),
        place_(place),
        network_(newSystemNetwork(runtime_.io, security).value()),
        certificates_(
            keepOwnCertificate(*network_, *runtime_.clock, *runtime_.random, cluster, ownIdentity(options, cluster))),
        client_(*runtime_.clock, *network_, *runtime_.random, cluster, clientOptions(options)),
        processes_(newSystemProcesses()),
        stop_(runtime_.stopRequested().fork()) {
    for (const auto& master : cluster.masters) {
      masters_ += (masters_.empty() ? "" : ", ") + master.name + " at " + master.address;
    }
  }

  int run() {
    KJ_IF_MAYBE(place, place_) {
      kept_ = kj::heap<KeptState>(place->kept);
      client_.setLedger(*kept_);
      if (place->fuse >= 0) {
        return goOn(place->fuse);
      }
    }
    return begin();
  }

 private:
  int begin() {
    auto connected = connect();
    if (!connected.ok()) {
      return background_.failed(connected.error().code, connected.error().why);
    }
    auto root = findRoot();
    if (!root.ok()) {
      return background_.failed(root.error().code, root.error().why);
    }
    Operations operations(client_, *runtime_.clock, *runtime_.workers, *kernelWaiters_, *processes_, arrival_, options_,
                          root.value(), kept_.get());
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
    metrics_ = kj::heap<MetricsPages>(runtime_.io, *runtime_.clock, sourceOf(operations));
    auto listening = metrics_->serve(options_.metrics);
    if (!listening.ok()) {
      return background_.failed(EXIT_REFUSED, listening.error().why);
    }
    return serveToTheEnd(kj::mv(session), operations);
  }

  // The mount is there, and a predecessor has served it.
  int goOn(int fuse) {
    if (!kept_->isUnderstood()) {
      return background_.failed(EXIT_REFUSED, "what the last process left behind is of another version of dfs-mount");
    }
    Operations operations(client_, *runtime_.clock, *runtime_.workers, *kernelWaiters_, *processes_, arrival_, options_,
                          kept_->root(), kept_.get());
    auto session = kj::heap<FuseSession>(runtime_.io.unixEventPort, *runtime_.clock, operations, arrival_);
    auto adopted = session->adopt(options_, fuse, kept_->firstRequest());
    if (!adopted.ok()) {
      return background_.failed(adopted.error().code, adopted.error().why);
    }
    operations.connected(session->descriptor());
    operations.inherit();
    metrics_ = kj::heap<MetricsPages>(runtime_.io, *runtime_.clock, sourceOf(operations));
    auto listening = metrics_->serve(options_.metrics);
    if (!listening.ok()) {
      spdlog::warn("metrics are not served any more: {}", listening.error().why);
    }
    return serveToTheEnd(kj::mv(session), operations);
  }

  static MetricsSource sourceOf(Operations& operations) {
    return [&operations](MetricsSheet& sheet) {
      sheet.process("dfs-mount", CAIRN_VERSION);
      operations.measure(sheet);
    };
  }

  int serveToTheEnd(kj::Own<FuseSession> session, Operations& operations) {
    serve(*session, operations);
    metrics_ = nullptr;
    operations.connected(-1);
    operations.giveUp();
    session = nullptr;
    return finish();
  }

  // Nothing of this goes on when it returns, though the mount may have been cut off with requests unanswered.
  void serve(FuseSession& session, Operations& operations) {
    auto served = kj::Promise<void>(session.serve()).fork();
    auto ready = session.onReady().exclusiveJoin(served.addBranch());
    wait(kj::mv(ready));
    nowServing(session, operations);
    for (bool over = false; !over;) {
      bool asked = false;
      auto handOver = runtime_.io.unixEventPort.onSignal(SIGUSR2).then([&asked](siginfo_t&&) { asked = true; });
      wait(served.addBranch().exclusiveJoin(stop_.addBranch()).exclusiveJoin(kj::mv(handOver)));
      over = !asked;
      if (asked && readyToLeave(session, operations, served)) {
        leaveToSuccessor();
      }
      if (session.isPaused()) {
        served = kj::Promise<void>(session.serve()).fork();
      }
    }
    takeDown(session, served);
  }

  void nowServing(FuseSession& session, Operations& operations) {
    bool began = place_ == nullptr || kept_->isNew();
    device_ = mountedDevice(options_.mountPoint);
    if (began) {
      operations.connected(session.descriptor());
      raiseReadAhead(options_.mountPoint, KERNEL_READ_AHEAD_BYTES);
      spdlog::info("mounted {} on {}", options_.fsname, options_.mountPoint);
    } else {
      spdlog::info("serving {} in the place of the last process", options_.mountPoint);
    }
    KJ_IF_MAYBE(place, place_) {
      if (session.canBeSucceeded()) {
        if (began) {
          kept_->begin(operations.root(), session.firstRequest());
        }
        tellServing(*place, session.descriptor());
      } else {
        spdlog::warn("nobody can take over from this process: that takes Linux 6.9");
      }
    }
    reopening_ = runtime_.logReopened().eagerlyEvaluate(nullptr);
    background_.ready();
  }

  // Writes out what only this process has. What waits for others, for a lock perhaps, the kernel asks the successor.
  bool readyToLeave(FuseSession& session, Operations& operations, kj::ForkedPromise<void>& served) {
    if (place_ == nullptr || !session.canBeSucceeded()) {
      spdlog::warn("asked to hand over, but nobody would take over: see --supervise in dfs-mount --help");
      return false;
    }
    spdlog::info("handing over {}", options_.mountPoint);
    // Most of it while the mount is served as ever.
    bool written = writeOut(FLUSH_MAX, "writing out before handing over");
    if (written) {
      session.pause();
      wait(served.addBranch());
      kj::Promise<void> settled = operations.settled(SETTLE_MAX);
      wait(kj::mv(settled));
      written = writeOut(PAUSE_MAX, "writing out the last before handing over");
    }
    if (!written) {
      spdlog::error("{} is not handed over: what was written can't be made safe now. Ask again later",
                    options_.mountPoint);
    }
    return written;
  }

  bool writeOut(Nanos limit, const char* what) {
    kj::Promise<Status> synced = client_.syncAll();
    return waitAtMost(limit, synced.then([](Status&& status) { logStatus(status); }), what);
  }

  // An orderly end would take away what the successor takes over.
  [[noreturn]] static void leaveToSuccessor() {
    ::_exit(HANDED_OVER);
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
  const kj::Maybe<WorkerPlace> place_;
  std::string masters_;
  std::string device_;  // the mount's
  Runtime runtime_;
  kj::Own<SystemNetwork> network_;
  kj::Promise<void> certificates_;
  kj::Own<KeptState> kept_;  // of a worker
  Client client_;
  kj::Own<Workers> kernelWaiters_ = newSystemWorkers(KERNEL_WAITERS);
  std::unique_ptr<Processes> processes_;
  Arrival arrival_;
  kj::ForkedPromise<void> stop_;
  kj::Own<MetricsPages> metrics_;
  kj::Promise<void> reopening_ = nullptr;
};

int refuse(const Error& error) {
  std::cerr << "dfs-mount: " << error.why << "\n";
  return error.code;
}

int mount(const MountOptions& options, const ClusterFile& cluster, Background& background,
          kj::Maybe<WorkerPlace> place) {
  prepareProcess();
  kj::UnixEventPort::captureSignal(SIGUSR2);
  kj::UnixEventPort::captureSignal(SIGHUP);
  auto security = tcpSecurityOf(cluster, ownIdentity(options, cluster), false);
  if (!security.ok()) {
    return background.failed(EXIT_REFUSED, security.error().why);
  }
  try {
    return MountProgram(options, cluster, security.value(), background, place).run();
  } catch (const kj::Exception& exception) {
    return background.failed(EXIT_FAILED, std::string("internal error: ") + exception.getDescription().cStr());
  }
}

// On a terminal that gets its prompt back, only what went wrong.
void beginLog(const MountOptions& options) {
  bool quiet = !options.foreground && options.logFile.empty() && options.logLevel == "info";
  LoggingOptions log;
  log.program = "dfs-mount";
  log.level = quiet ? "warn" : options.logLevel;
  // A holder writes to what it inherited, which is that file too.
  log.file = options.worker.empty() && options.supervised ? "" : options.logFile;
  log.json = options.logJson;
  auto begun = startLogging(log);
  if (!begun.ok()) {
    log.file.clear();
    (void)startLogging(log);
    spdlog::warn("{}", begun.error().why);
  }
}

// The process that a holder has started. It must not look at the mount point, which it is to serve.
int work(const MountOptions& options, const ClusterFile& cluster) {
  WorkerPlace place;
  if (!parseWorkerPlace(options.worker, place)) {
    return refuse(Error{EXIT_USAGE, "--worker is for a holder's own use; see --supervise"});
  }
  for (int descriptor : {place.holder, place.fuse, place.parent}) {
    if (descriptor >= 0) {
      ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    }
  }
  Background background(options, place.parent);
  beginLog(options);
  return mount(options, cluster, background, place);
}

int program(const std::vector<std::string>& arguments) {
  bool asRoot = ::geteuid() == 0;
  auto parsed = parseCommandLine(arguments, asRoot);
  if (auto* exit = std::get_if<EarlyExit>(&parsed)) {
    (exit->code == EXIT_DONE ? std::cout : std::cerr) << exit->text;
    return exit->code;
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  MountOptions options = std::get<MountOptions>(parsed);
  options.clusterFile = absolutePath(options.clusterFile);
  auto cluster = readClusterFile(options.clusterFile);
  if (!cluster.ok()) {
    return refuse(Error{EXIT_REFUSED, cluster.error().why});
  }
  if (!options.worker.empty()) {
    return work(options, cluster.value());
  }
  auto host = checkHost(options, asRoot);
  if (!host.ok()) {
    return refuse(host.error());
  }
  options.mountPoint = absolutePath(options.mountPoint);
  if (options.checkOnly) {
    return EXIT_DONE;
  }
  Background background(options);
  beginLog(options);
  if (options.supervised) {
    return Holder(options, background).run();
  }
  return mount(options, cluster.value(), background, nullptr);
}

}  // namespace
}  // namespace cairn

int main(int argc, char* argv[]) {
  return cairn::program(std::vector<std::string>(argv + 1, argv + argc));
}
