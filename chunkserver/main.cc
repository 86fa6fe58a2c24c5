// dfs-chunkserver: makes the seams and one chunkserver out of them, and sees to an orderly end.
#include <kj/async-unix.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <memory>

#include "chunkserver/daemon.h"
#include "chunkserver/server_home.h"
#include "common/cluster_file.h"
#include "common/domain_name.h"
#include "common/log.h"
#include "common/manual.h"
#include "common/system/disk.h"
#include "common/system/host.h"
#include "common/system/prepared_log.h"
#include "common/system/rooted_env.h"
#include "common/system/runtime.h"
#include "rpc/metrics_pages.h"
#include "rpc/system_network_setup.h"

namespace cairn {
namespace {

constexpr int EXIT_DONE = 0;
constexpr int EXIT_BROKEN = 1;   // it failed while working: disk errors, no space
constexpr int EXIT_REFUSED = 2;  // what it was given can't be right
constexpr int EXIT_USAGE = 64;
constexpr mode_t PRIVATE_MODE = 0700;
constexpr unsigned WORKER_THREADS = 6;  // syncs of several chunks at once, cold reads, the index

struct Flags {
  std::string clusterFile;
  std::string name;
  std::string directory;
  std::vector<std::string> volumes;
  std::string listen = "127.0.0.1:0";
  std::string socket;
  std::string rack;
  std::string zone;
  std::string logLevel = "info";
  std::string logFile;
  std::string logFormat = "text";
  std::string metrics;
  uint32_t slowMillis = SLOW_DEFAULT / MILLISECOND;
  uint64_t capacityBytes = 0;
  std::string token;
  bool insecure = false;

  OwnIdentity self() const { return {PeerRole::CHUNKSERVER, name}; }
};

int refuse(int code, const std::string& why) {
  std::cerr << "dfs-chunkserver: " << why << std::endl;
  return code;
}

// What the environment did is a failure; what the caller asked for is refused.
int exitCodeOf(const Error& error) {
  switch (error.code) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return EXIT_BROKEN;
    default:
      return EXIT_REFUSED;
  }
}

std::string checkDomainName(const std::string& name) {
  return isDomainName(name) ? "" : "\"" + name + "\" is no name for it: " + DOMAIN_NAME_RULE;
}

void describeFlags(CLI::App& app, Flags& flags) {
  app.add_option("--cluster", flags.clusterFile, "cluster.toml of the cluster")->required();
  app.add_option("--name", flags.name, "name of this chunkserver for people, for example c1")->required();
  app.add_option("--dir", flags.directory, "directory of this server's identity; made when absent")->required();
  app.add_option("--volume", flags.volumes, "directory for chunks, one for each disk; DIR/v1 when not given")
      ->expected(1)
      ->take_all();
  app.add_option("--listen", flags.listen, "host:port for other hosts")->capture_default_str();
  app.add_option("--socket", flags.socket, "Unix socket for this host");
  app.add_option("--rack", flags.rack, "rack that it is in: copies can be kept in different ones")
      ->check(CLI::Validator(checkDomainName, "NAME"));
  app.add_option("--zone", flags.zone, "zone (room, building) that it is in")
      ->check(CLI::Validator(checkDomainName, "NAME"));
  app.add_option("--capacity", flags.capacityBytes, "most bytes of chunks on each volume; 0: what its disk has");
  app.add_option("--join", flags.token,
                 "token from `dfsadmin cert token`, for the first start: gets this server's certificate, and writes "
                 "the cluster file if it isn't there");
  app.add_flag("--insecure", flags.insecure, "no certificates: TCP on loopback addresses only");
  app.add_option("--log-level", flags.logLevel, "how much to say")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "critical", "off"}))
      ->capture_default_str();
  app.add_option("--log-file", flags.logFile, "write log lines to this file; begun anew at 64 MiB and at SIGHUP");
  app.add_option("--log-format", flags.logFormat, "text, or json: an object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--metrics", flags.metrics, "host:port on which to serve metrics for Prometheus; not when not given");
  app.add_option("--slow-ms", flags.slowMillis, "calls that take longer are said in the log; 0: none")
      ->capture_default_str();
  app.footer("Example: dfs-chunkserver --cluster cluster.toml --name c1 --dir c1 --listen 10.0.0.5:7100");
}

void raiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

Status prepareDirectory(const std::string& path, const char* flag) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    if (!S_ISDIR(info.st_mode)) {
      return Error{ENOTDIR, path + " is not a directory: name one with " + flag};
    }
    return {};
  }
  if (errno != ENOENT) {
    return Error{errno, "cannot use " + path + ": " + strerror(errno)};
  }
  if (::mkdir(path.c_str(), PRIVATE_MODE) != 0) {
    return Error{errno, "cannot make " + path + ": " + strerror(errno)};
  }
  return {};
}

Status checkSocket(const std::string& path) {
  constexpr size_t PATH_MAX_CHARS = 107;  // what a Unix socket's address holds
  if (path.size() > PATH_MAX_CHARS) {
    return Error{ENAMETOOLONG, "--socket " + path + " is longer than the " + std::to_string(PATH_MAX_CHARS) +
                                   " bytes that the system allows: name a shorter path"};
  }
  return {};
}

class Program {
 public:
  Program(Flags flags, ClusterFile cluster)
      : flags_(std::move(flags)), cluster_(std::move(cluster)), runtime_(WORKER_THREADS) {}

  int run() {
    auto security = tcpSecurityOf(cluster_, flags_.self(), flags_.insecure);
    if (!security.ok()) {
      return refuse(EXIT_REFUSED, security.error().why);
    }
    auto network = newSystemNetwork(runtime_.io, security.value());
    if (!network.ok()) {
      return refuse(EXIT_REFUSED, network.error().why);
    }
    network_ = kj::mv(network.value());
    auto disk = openSystemDisk(flags_.directory, *runtime_.workers);
    if (!disk.ok()) {
      return refuse(exitCodeOf(disk.error()), disk.error().why);
    }
    homeDisk_ = kj::mv(disk.value());
    auto home = ServerHome::open(*homeDisk_, *runtime_.random, cluster_.cluster);
    if (!home.ok()) {
      return refuse(exitCodeOf(home.error()), home.error().why);
    }
    home_ = kj::mv(home.value());
    auto places = openPlaces();
    if (!places.ok()) {
      return refuse(exitCodeOf(places.error()), places.error().why);
    }
    DaemonSeams seams{*runtime_.clock, *runtime_.random, *network_, *runtime_.workers};
    auto started = startDaemon(seams, daemonOptions(), *home_, places.value());
    if (!started.ok()) {
      return refuse(exitCodeOf(started.error()), started.error().why);
    }
    return serve(kj::mv(started.value()));
  }

 private:
  DaemonOptions daemonOptions() const {
    DaemonOptions options;
    options.cluster = cluster_;
    options.name = flags_.name;
    options.listen = flags_.listen;
    options.socket = flags_.socket;
    options.hostId = thisHostId();
    options.rack = flags_.rack;
    options.zone = flags_.zone;
    options.program.version = CAIRN_VERSION;
    options.capacityLimit = flags_.capacityBytes;
    options.slow = flags_.slowMillis * MILLISECOND;
    return options;
  }

  Result<std::vector<VolumePlace>> openPlaces() {
    std::vector<VolumePlace> places;
    for (auto& path : flags_.volumes) {
      // Where a volume is known to be nothing may be made: its disk may not be mounted.
      Status prepared = home_->volumeAt(path).isNull() ? prepareDirectory(path, "--volume") : Status();
      if (!prepared.ok()) {
        return prepared.error();
      }
      VolumePlace place;
      place.path = path;
      auto disk = openSystemDisk(path, *runtime_.workers);
      auto env = newRootedEnv(*preparingEnv_, path);
      if (disk.ok() && env.ok()) {
        disks_.push_back(kj::mv(disk.value()));
        envs_.push_back(std::move(env.value()));
        place.disk = disks_.back().get();
        place.env = envs_.back().get();
      } else {
        place.error = disk.ok() ? env.error() : disk.error();
      }
      places.push_back(place);
    }
    return places;
  }

  int serve(kj::Own<Daemon> daemon) {
    MetricsPages metrics(runtime_.io, *runtime_.clock, [&daemon](MetricsSheet& sheet) {
      sheet.process("dfs-chunkserver", CAIRN_VERSION);
      daemon->measure(sheet);
    });
    auto shown = metrics.serve(flags_.metrics);
    if (!shown.ok()) {
      return refuse(exitCodeOf(shown.error()), shown.error().why);
    }
    auto reopening = runtime_.logReopened().eagerlyEvaluate(nullptr);
    std::string addresses;
    for (auto& address : daemon->addresses()) {
      addresses += (addresses.empty() ? "" : " and ") + address;
    }
    spdlog::info("ready: chunkserver {} ({}) of cluster {} serves on {}", flags_.name, toText(home_->server()),
                 toText(cluster_.cluster), addresses);
    auto certificates = keepOwnCertificate(*network_, *runtime_.clock, *runtime_.random, cluster_, flags_.self());
    int code = EXIT_DONE;
    auto fatal = daemon->onFatal().then([&code](Error&& error) {
      spdlog::critical("this chunkserver ends: {}", error.why);
      code = exitCodeOf(error);
    });
    runtime_.stopRequested().exclusiveJoin(kj::mv(fatal)).wait(runtime_.io.waitScope);
    spdlog::info("stopping: finishing what is under way");
    kj::Promise<void> stopping = daemon->stop();
    stopping.wait(runtime_.io.waitScope);
    if (!flags_.socket.empty()) {
      ::unlink(flags_.socket.c_str());
    }
    return code;
  }

  const Flags flags_;
  const ClusterFile cluster_;
  Runtime runtime_;
  kj::Own<SystemNetwork> network_;
  kj::Own<Disk> homeDisk_;
  kj::Own<ServerHome> home_;
  std::vector<kj::Own<Disk>> disks_;
  std::unique_ptr<leveldb::Env> preparingEnv_ = newPreparedLogEnv(*leveldb::Env::Default());
  std::vector<std::unique_ptr<leveldb::Env>> envs_;
};

Status joinFirst(const Flags& flags) {
  if (flags.token.empty()) {
    return {};
  }
  Runtime runtime(1);
  return joinByToken(runtime.io, *runtime.clock, flags.token, flags.self(), flags.clusterFile);
}

int program(int argc, char* argv[]) {
  Flags flags;
  CLI::App app{"A chunkserver of a CairnFS cluster: stores and replicates the bytes of files.", "dfs-chunkserver"};
  app.set_version_flag("--version", CAIRN_VERSION);
  addManual(app, "dfs-chunkserver", CAIRN_VERSION);
  describeFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& wrong) {
    auto unknown = app.remaining();
    std::string what = unknown.empty() ? wrong.what() : "there is no option '" + unknown.front() + "'";
    return refuse(EXIT_USAGE, what + ". See dfs-chunkserver --help");
  }
  if (!flags.socket.empty() && flags.socket[0] != '/') {
    flags.socket = workingDirectory() + "/" + flags.socket;  // others will be told of it
  }
  if (flags.volumes.empty()) {
    flags.volumes.push_back(flags.directory + "/v1");
  }
  ::signal(SIGPIPE, SIG_IGN);
  kj::UnixEventPort::captureSignal(SIGHUP);
  LoggingOptions log;
  log.program = flags.name;
  log.level = flags.logLevel;
  log.file = flags.logFile;
  log.json = flags.logFormat == "json";
  auto logging = startLogging(log);
  if (!logging.ok()) {
    return refuse(EXIT_REFUSED, logging.error().why);
  }
  raiseFileLimit();
  auto joined = joinFirst(flags);
  if (!joined.ok()) {
    return refuse(EXIT_REFUSED, joined.error().why);
  }
  auto cluster = readClusterFile(flags.clusterFile);
  if (!cluster.ok()) {
    return refuse(exitCodeOf(cluster.error()), cluster.error().why);
  }
  for (auto& checked : {checkSocket(flags.socket), prepareDirectory(flags.directory, "--dir")}) {
    if (!checked.ok()) {
      return refuse(exitCodeOf(checked.error()), checked.error().why);
    }
  }
  try {
    return Program(flags, cluster.value()).run();
  } catch (const kj::Exception& e) {
    spdlog::critical("internal error: {}", kj::str(e).cStr());
    return EXIT_BROKEN;
  }
}

}  // namespace
}  // namespace cairn

int main(int argc, char* argv[]) {
  return cairn::program(argc, argv);
}
