// dfs-recover: data recovery without a running cluster. Sources are opened read-only.
#include <signal.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "common/log.h"
#include "common/system/disk.h"
#include "common/system/runtime.h"
#include "common/system/held.h"
#include "tools/recover/extract.h"
#include "tools/recover/master_look.h"
#include "tools/recover/rebuild.h"
#include "tools/recover/report.h"
#include "tools/recover/scan_all.h"

namespace cairn::rescue {
namespace {

using Json = nlohmann::json;

constexpr int EXIT_WHOLE = 0;
constexpr int EXIT_DAMAGED = 1;  // done, and something is lost or bad
constexpr int EXIT_REFUSED = 2;
constexpr int EXIT_USAGE = 64;
constexpr unsigned WORKER_THREADS = 8;  // disks that are read at the same time
constexpr mode_t PRIVATE_MODE = 0700;

struct Flags {
  std::string output = "table";
  std::vector<std::string> disks;
  std::vector<std::string> paths;
  std::string map;
  std::string cluster;
  std::string to;
  std::string directory;
  std::string name = "m1";
  bool write = false;
  bool json() const { return output == "json"; }
};

int refuse(const Error& error) {
  std::cerr << "dfs-recover: " << error.why << std::endl;
  return EXIT_REFUSED;
}

// The map keeps the path, and is perhaps used from elsewhere.
std::string absolute(const std::string& path) {
  char* found = ::realpath(path.c_str(), nullptr);
  std::string out = found == nullptr ? path : found;
  ::free(found);
  return out;
}

Status makeDirectory(const std::string& path) {
  bool made = ::mkdir(path.c_str(), PRIVATE_MODE) == 0 || errno == EEXIST;
  return made ? Status() : Status(Error{errno, path + ": cannot make the directory: " + strerror(errno)});
}

void printJson(const Json& json) {
  std::cout << json.dump(1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

class Program {
 public:
  explicit Program(Flags flags) : flags_(std::move(flags)), runtime_(WORKER_THREADS) {}

  int scan();
  int verify();
  int extractFiles();
  int rebuildMaster();
  int lookAtMaster(bool log, bool all);

 private:
  int showLog(Disk& master, bool all);
  int showState(Disk& master, bool all);
  DiskOpener opener() {
    return [this](const std::string& path) { return openSystemDisk(path, *runtime_.workers); };
  }
  ScanParts parts() { return {opener(), *leveldb::Env::Default(), *runtime_.workers, *runtime_.random}; }
  Result<kj::Own<Disk>> openMap() { return openSystemDisk(flags_.map, *runtime_.workers); }
  template <typename T>
  T wait(Task<T> task) {
    kj::Promise<T> promise = kj::mv(task);
    return promise.wait(runtime_.io.waitScope);
  }

  const Flags flags_;
  Runtime runtime_;
};

int Program::scan() {
  auto made = makeDirectory(flags_.map);
  auto map = made.ok() ? openMap() : Result<kj::Own<Disk>>(made.error());
  if (!map.ok()) {
    return refuse(map.error());
  }
  std::vector<std::string> disks;
  for (auto& disk : flags_.disks) {
    disks.push_back(absolute(disk));
  }
  auto found = wait(scanAll({disks, flags_.cluster, map.value().get()}, parts()));
  if (!found.ok()) {
    return refuse(found.error());
  }
  auto archive = Archive::open(*map.value(), *leveldb::Env::Default(), opener());
  if (!archive.ok()) {
    return refuse(archive.error());
  }
  auto report = assessAll(*archive.value());
  if (flags_.json()) {
    printJson(toJson(*archive.value(), report));
  } else {
    print(*archive.value(), report);
  }
  return report.damaged.empty() && archive.value()->names() != nullptr ? EXIT_WHOLE : EXIT_DAMAGED;
}

int Program::verify() {
  auto found = wait(scanAll({flags_.disks, flags_.cluster, nullptr}, parts()));
  if (!found.ok()) {
    return refuse(found.error());
  }
  Json disks = Json::array();
  bool bad = false;
  for (auto& disk : found.value()) {
    bad = bad || disk.badBlocks > 0 || !disk.damage.empty();
    disks.push_back({{"path", disk.path},
                     {"copies", disk.copies.size()},
                     {"bytesRead", disk.bytesRead},
                     {"badBlocks", disk.badBlocks},
                     {"damage", disk.damage}});
  }
  if (flags_.json()) {
    printJson({{"disks", disks}});
    return bad ? EXIT_DAMAGED : EXIT_WHOLE;
  }
  for (auto& disk : found.value()) {
    std::cout << disk.path << ": " << disk.copies.size() << " chunks, " << disk.bytesRead << " bytes read, "
              << disk.badBlocks << " bad blocks\n";
    for (auto& line : disk.damage) {
      std::cout << "  " << line << "\n";
    }
  }
  return bad ? EXIT_DAMAGED : EXIT_WHOLE;
}

int Program::extractFiles() {
  auto map = openMap();
  auto archive = map.ok() ? Archive::open(*map.value(), *leveldb::Env::Default(), opener())
                          : Result<kj::Own<Archive>>(map.error());
  if (!archive.ok()) {
    return refuse(archive.error());
  }
  kj::Own<TreeWriter> writer;
  if (flags_.write) {
    auto opened = TreeWriter::open(flags_.to);
    if (!opened.ok()) {
      return refuse(opened.error());
    }
    writer = kj::mv(opened.value());
  }
  auto done = extract(*archive.value(), {flags_.paths, writer.get()});
  if (!done.ok()) {
    return refuse(done.error());
  }
  auto& out = done.value();
  Json json = {{"written", flags_.write}, {"files", out.files},     {"others", out.others},
               {"bytes", out.bytes},      {"skipped", out.skipped}, {"refused", out.refused}};
  json["damaged"] = filesJson(out.damaged);
  if (flags_.json()) {
    printJson(json);
  } else {
    std::cout << out.files << " files of " << out.bytes << " bytes and " << out.others
              << " directories, links and special files " << (flags_.write ? "are" : "would be") << " in " << flags_.to
              << (out.skipped > 0 ? ", " + std::to_string(out.skipped) + " of them from before" : "") << "\n";
    printFiles(out.damaged);
    for (auto& line : out.refused) {
      std::cout << "not written: " << line << "\n";
    }
    if (!flags_.write) {
      std::cout << "Nothing was written: add --write\n";
    }
  }
  return out.damaged.empty() && out.refused.empty() ? EXIT_WHOLE : EXIT_DAMAGED;
}

int Program::rebuildMaster() {
  auto map = openMap();
  auto archive = map.ok() ? Archive::open(*map.value(), *leveldb::Env::Default(), opener())
                          : Result<kj::Own<Archive>>(map.error());
  if (!archive.ok()) {
    return refuse(archive.error());
  }
  if (archive.value()->names() == nullptr) {
    return refuse({ENODATA, "no disk had a whole copy of the masters' state, so there is nothing to make a master "
                            "from: get the files out with dfs-recover extract"});
  }
  ClusterId cluster = archive.value()->cluster();
  if (!flags_.write) {
    std::cout << "A master's data directory would be made in " << flags_.to << ", of cluster " << toText(cluster)
              << ", as of entry " << raw(archive.value()->names()->reader().appliedIndex())
              << ".\nNothing was written: add --write\n";
    return EXIT_WHOLE;
  }
  archive = Error{ENODATA, ""};  // lets go of the names
  auto made = makeDirectory(flags_.to);
  auto names = openSystemDisk(flags_.map + "/" + NAMES_DIRECTORY, *runtime_.workers);
  auto to = made.ok() ? openSystemDisk(flags_.to, *runtime_.workers) : Result<kj::Own<Disk>>(made.error());
  if (!names.ok() || !to.ok()) {
    return refuse(names.ok() ? to.error() : names.error());
  }
  auto epoch = wait(rebuild(*names.value(), *to.value(), *leveldb::Env::Default(), cluster, flags_.name,
                            *runtime_.random));
  if (!epoch.ok()) {
    return refuse(epoch.error());
  }
  if (flags_.json()) {
    printJson({{"directory", flags_.to}, {"master", flags_.name}, {"epoch", toText(epoch.value())}});
  } else {
    std::cout << flags_.to << " is the data directory of master " << flags_.name << " now, alone in its group.\n"
              << "1. Write the line  epoch = \"" << toText(epoch.value())
              << "\"  below the cluster's id into every cluster.toml, and leave only " << flags_.name
              << " among the masters.\n"
              << "2. Start dfs-master --name " << flags_.name << " --dir " << flags_.to
              << ", then the chunkservers on their disks as they are.\n"
              << "3. dfsadmin status says what is missing. Add further masters with --join in empty directories.\n";
  }
  return EXIT_WHOLE;
}

int Program::lookAtMaster(bool log, bool all) {
  auto held = isHeld(flags_.directory + "/lock");
  if (!held.ok() || held.value()) {
    return refuse(held.ok() ? Error{EBUSY, flags_.directory + ": a master runs there: stop it first"} : held.error());
  }
  auto master = openSystemDisk(flags_.directory, *runtime_.workers);
  if (!master.ok()) {
    return refuse(master.error());
  }
  return log ? showLog(*master.value(), all) : showState(*master.value(), all);
}

int Program::showLog(Disk& master, bool all) {
  auto look = lookAtLog(master, [all](const LogEntry& entry) {
    if (all) {
      std::cout << entryJson(entry).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    }
  });
  if (!look.ok()) {
    return refuse(look.error());
  }
  auto& found = look.value();
  if (!all) {
    printJson({{"firstIndex", raw(found.first)},
               {"lastIndex", raw(found.last)},
               {"lastTerm", raw(found.term)},
               {"segments", found.segments},
               {"damage", found.damage}});
  } else if (!found.damage.empty()) {
    std::cerr << "dfs-recover: " << found.damage << std::endl;
  }
  return found.damage.empty() ? EXIT_WHOLE : EXIT_DAMAGED;
}

// In a copy: to open the state is to write.
int Program::showState(Disk& master, bool all) {
  auto made = makeDirectory(flags_.to);
  auto work = made.ok() ? openSystemDisk(flags_.to, *runtime_.workers) : Result<kj::Own<Disk>>(made.error());
  auto cluster = work.ok() ? clusterOf(master) : Result<ClusterId>(work.error());
  auto copied = cluster.ok() ? copyMaster(master, *work.value(), cluster.value(), NAMES_MEMBER, GroupEpoch{},
                                          *runtime_.random)
                             : Status(cluster.error());
  auto names = copied.ok() ? Names::open(*work.value(), *leveldb::Env::Default(), cluster.value())
                           : Result<kj::Own<Names>>(copied.error());
  if (!names.ok()) {
    return refuse(names.error());
  }
  if (!all) {
    printJson(stateJson(*names.value()));
    return EXIT_WHOLE;
  }
  auto shown = exportTree(*names.value(), [](Json line) {
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  });
  return shown.ok() ? EXIT_WHOLE : refuse(shown.error());
}

void describeMaster(CLI::App& app, Flags& flags) {
  for (auto* noun : {"log", "meta"}) {
    bool isLog = noun == std::string("log");
    auto* group = app.add_subcommand(noun, isLog ? "the log of a stopped master" : "the names of a stopped master");
    group->require_subcommand(1);
    for (auto* verb : {"inspect", "export"}) {
      bool inspects = verb == std::string("inspect");
      auto* command =
          group->add_subcommand(verb, inspects ? "what there is, in figures" : "all of it, as lines of JSON");
      command->add_option("DIR", flags.directory, "the master's data directory")->required();
      if (!isLog) {
        command->add_option("--work", flags.to, "an empty directory, for a copy that can be opened")->required();
      }
      command->footer(std::string("Example: dfs-recover ") + noun + " " + verb + " m1" + (isLog ? "" : " --work copy"));
    }
  }
}

void describe(CLI::App& app, Flags& flags) {
  app.require_subcommand(1);
  app.add_option("-o,--output", flags.output, "how to print")->check(CLI::IsMember({"table", "json"}));
  auto* scan = app.add_subcommand("scan", "reads disks and writes down what can be had from them");
  scan->add_option("DISK", flags.disks, "data directories of chunkservers, volumes, stopped masters")->required();
  scan->add_option("--map", flags.map, "directory for what is found; a scan that was interrupted goes on")->required();
  scan->add_option("--cluster", flags.cluster, "id of the cluster, when there are disks of several");
  scan->footer("Example: dfs-recover scan /srv/disk1 /srv/disk2 --map found");
  auto* verify = app.add_subcommand("verify", "checks every checksum; exit code 1 when a block is bad");
  verify->add_option("DISK", flags.disks, "as for scan")->required();
  verify->add_option("--cluster", flags.cluster, "as for scan");
  verify->footer("Example: dfs-recover verify /srv/disk1");
  auto* extract =
      app.add_subcommand("extract", "gets files out, with names, modes, owners, times, attributes and links");
  extract->add_option("--map", flags.map, "what a scan has found")->required();
  extract->add_option("--to", flags.to, "directory to write to")->required();
  extract->add_option("PATH", flags.paths, "only these; everything when none is named");
  extract->add_flag("--write", flags.write, "do it: without this it only says what would come out");
  extract->footer("Example: dfs-recover extract --map found --to rescued --write home/anna");
  auto* rebuild = app.add_subcommand("rebuild", "makes a master's data directory from which the cluster can start");
  rebuild->add_option("--map", flags.map, "what a scan has found")->required();
  rebuild->add_option("--to", flags.to, "an empty directory")->required();
  rebuild->add_option("--name", flags.name, "of the master in cluster.toml")->capture_default_str();
  rebuild->add_flag("--write", flags.write, "do it: without this it only says what would be made");
  rebuild->footer("Example: dfs-recover rebuild --map found --to m1 --write");
  describeMaster(app, flags);
}

int run(int argc, char* argv[]) {
  Flags flags;
  CLI::App app{"Gets data back from the disks of a CairnFS cluster that can't be started.", "dfs-recover"};
  app.set_version_flag("--version", CAIRN_VERSION);
  describe(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& wrong) {
    std::cerr << "dfs-recover: " << wrong.what() << ". See dfs-recover --help" << std::endl;
    return EXIT_USAGE;
  }
  ::signal(SIGPIPE, SIG_IGN);
  startLogging("dfs-recover", "warning");
  try {
    Program program(flags);
    auto* chosen = app.get_subcommands().front();
    std::string verb = chosen->get_name();
    if (verb == "log" || verb == "meta") {
      return program.lookAtMaster(verb == "log", chosen->get_subcommands().front()->get_name() == "export");
    }
    return verb == "scan"      ? program.scan()
           : verb == "verify"  ? program.verify()
           : verb == "extract" ? program.extractFiles()
                               : program.rebuildMaster();
  } catch (const kj::Exception& e) {
    std::cerr << "dfs-recover: internal error: " << kj::str(e).cStr() << std::endl;
    return EXIT_REFUSED;
  }
}

}  // namespace
}  // namespace cairn::rescue

int main(int argc, char* argv[]) {
  return cairn::rescue::run(argc, argv);
}
