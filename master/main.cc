// dfs-master: makes the seams and one master out of them, and sees to an orderly end.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "common/cluster_file.h"
#include "common/log.h"
#include "common/manual.h"
#include "common/system/disk.h"
#include "common/system/runtime.h"
#include "master/member.h"
#include "rpc/system_network.h"

namespace cairn {
namespace {

constexpr uint32_t TRASH_SECONDS = 24 * 3600;  // until `dfsadmin trash set` says otherwise
constexpr int EXIT_DONE = 0;
constexpr int EXIT_BROKEN = 1;   // it failed while working: disk errors, no space
constexpr int EXIT_REFUSED = 2;  // what it was given can't be right
constexpr int EXIT_USAGE = 64;
constexpr mode_t PRIVATE_MODE = 0700;
constexpr uint64_t CACHE_BYTES_MIN = 1 << 20;
// Syncs of the log, writes of the state, cold reads.
constexpr unsigned WORKER_THREADS = 3;

struct Flags {
  std::string clusterFile;
  std::string name;
  std::string directory;
  std::string listen;
  std::string socket;
  std::string logLevel = "info";
  uint64_t cacheBytes = 64 << 20;
  bool initialize = false;
  bool joins = false;
};

int refuse(int code, const std::string& why) {
  std::cerr << "dfs-master: " << why << std::endl;
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

void describeFlags(CLI::App& app, Flags& flags) {
  app.add_option("--cluster", flags.clusterFile, "cluster.toml of the cluster")->required();
  app.add_option("--name", flags.name, "name of this master in cluster.toml, for example m1")->required();
  app.add_option("--dir", flags.directory, "directory of this master's data")->required();
  app.add_option("--listen", flags.listen, "host:port for other hosts; as in cluster.toml when not given");
  app.add_option("--socket", flags.socket, "Unix socket for this host; as in cluster.toml when not given");
  app.add_option("--cache-bytes", flags.cacheBytes, "most memory for the cache of the file tree")
      ->check(CLI::Range(CACHE_BYTES_MIN, uint64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--log-level", flags.logLevel, "how much to say")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "critical", "off"}))
      ->capture_default_str();
  app.add_flag("--init", flags.initialize, "make the data of a new cluster in an empty --dir, then serve");
  app.add_flag("--join", flags.joins, "make an empty --dir that of a further master of the cluster, then serve")
      ->excludes("--init");
  app.footer("Example: dfs-master --cluster cluster.toml --name m1 --dir m1 --init");
}

void raiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// True when it was made here.
Result<bool> prepareDirectory(const Flags& flags) {
  struct stat info {};
  if (::stat(flags.directory.c_str(), &info) == 0) {
    if (!S_ISDIR(info.st_mode)) {
      return Error{ENOTDIR, flags.directory + " is not a directory: name one with --dir"};
    }
    return false;
  }
  if (errno != ENOENT) {
    return Error{errno, "cannot use " + flags.directory + ": " + strerror(errno)};
  }
  if (!flags.initialize && !flags.joins) {
    return Error{ENOENT, flags.directory +
                             " does not exist: name the directory with this master's data, or start with "
                             "--init to make a new cluster's"};
  }
  if (::mkdir(flags.directory.c_str(), PRIVATE_MODE) != 0) {
    return Error{errno, "cannot make " + flags.directory + ": " + strerror(errno)};
  }
  return true;
}

Result<MemberOptions> memberOptions(const Flags& flags) {
  auto cluster = readClusterFile(flags.clusterFile);
  if (!cluster.ok()) {
    return cluster.error();
  }
  MemberOptions options;
  options.cluster = cluster.value();
  options.name = flags.name;
  options.initialize = flags.initialize;
  options.joins = flags.joins;
  options.rootUid = ::geteuid();
  options.rootGid = ::getegid();
  options.cacheBytes = flags.cacheBytes;
  options.trashSeconds = TRASH_SECONDS;
  options.program.version = CAIRN_VERSION;
  std::string known;
  bool found = false;
  std::string listen = flags.listen, socket = flags.socket;
  for (auto& master : options.cluster.masters) {
    known += (known.empty() ? "" : ", ") + master.name;
    if (master.name == flags.name) {
      found = true;
      listen = listen.empty() ? master.address : listen;
      socket = socket.empty() ? master.socket : socket;
    }
  }
  if (!found) {
    return Error{EINVAL, flags.clusterFile + " names no master \"" + flags.name + "\" (it has: " + known +
                             "): correct --name or the file"};
  }
  if (!listen.empty()) {
    options.listen.push_back(listen);
  }
  if (!socket.empty()) {
    options.listen.push_back("unix:" + socket);
  }
  if (options.listen.empty()) {
    return Error{EINVAL, "master \"" + flags.name + "\" has neither address nor socket in " + flags.clusterFile +
                             ": add one, or give --listen or --socket"};
  }
  return options;
}

class Program {
 public:
  explicit Program(MemberOptions options) : options_(std::move(options)), runtime_(WORKER_THREADS) {}

  int run(const std::string& directory, bool directoryMade) {
    network_ = newSystemNetwork(runtime_.io);
    auto disk = openSystemDisk(directory, *runtime_.workers);
    if (!disk.ok()) {
      return refuse(exitCodeOf(disk.error()), disk.error().why);
    }
    disk_ = kj::mv(disk.value());
    ReplicaSeams seams{*runtime_.clock, *runtime_.random,  *network_,
                      *disk_,          *runtime_.workers, *leveldb::Env::Default()};
    kj::Promise<Result<kj::Own<Member>>> starting = startMember(options_, seams);
    auto started = starting.wait(runtime_.io.waitScope);
    if (!started.ok()) {
      if (directoryMade) {
        ::rmdir(directory.c_str());  // as long as nothing is in it
      }
      return refuse(exitCodeOf(started.error()), started.error().why);
    }
    return serve(kj::mv(started.value()));
  }

 private:
  int serve(kj::Own<Member> member) {
    std::string addresses;
    for (auto& address : member->addresses()) {
      addresses += (addresses.empty() ? "" : " and ") + address;
    }
    spdlog::info("ready: master {} of cluster {} serves on {}", options_.name, toText(options_.cluster.cluster),
                 addresses);
    int code = EXIT_DONE;
    auto fatal = member->onFatal().then([&code](Error&& error) {
      spdlog::critical("this master ends: {}", error.why);
      code = EXIT_BROKEN;
    });
    runtime_.stopRequested().exclusiveJoin(kj::mv(fatal)).wait(runtime_.io.waitScope);
    if (code == EXIT_DONE) {
      spdlog::info("asked to stop: writing the state out");
      kj::Promise<void> stopping = member->stop();
      stopping.wait(runtime_.io.waitScope);
      removeSockets();
    }
    return code;
  }

  void removeSockets() {
    constexpr size_t PREFIX_CHARS = 5;  // "unix:"
    for (auto& address : options_.listen) {
      if (address.compare(0, PREFIX_CHARS, "unix:") == 0) {
        ::unlink(address.c_str() + PREFIX_CHARS);
      }
    }
  }

  MemberOptions options_;
  Runtime runtime_;
  kj::Own<Network> network_;
  kj::Own<Disk> disk_;
};

int program(int argc, char* argv[]) {
  Flags flags;
  CLI::App app{"The master of a CairnFS cluster: the file tree, the sessions, the shard map.", "dfs-master"};
  app.set_version_flag("--version", CAIRN_VERSION);
  addManual(app, "dfs-master", CAIRN_VERSION);
  describeFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& wrong) {
    auto unknown = app.remaining();
    std::string what = unknown.empty() ? wrong.what() : "there is no option '" + unknown.front() + "'";
    return refuse(EXIT_USAGE, what + ". See dfs-master --help");
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  startLogging(flags.name.c_str(), flags.logLevel.c_str());
  raiseFileLimit();
  auto options = memberOptions(flags);
  if (!options.ok()) {
    return refuse(exitCodeOf(options.error()), options.error().why);
  }
  auto prepared = prepareDirectory(flags);
  if (!prepared.ok()) {
    return refuse(exitCodeOf(prepared.error()), prepared.error().why);
  }
  try {
    return Program(options.value()).run(flags.directory, prepared.value());
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
