// dfsadmin bundle: one file with what somebody needs to understand what is wrong with a cluster. What people called
// their files stays out of it, unless it is asked for.
#include <iostream>

#include "tools/admin/archive.h"
#include "tools/admin/daemons.h"
#include "tools/admin/history.h"
#include "tools/admin/raft_group.h"
#include "tools/admin/settings_list.h"
#include "tools/admin/shards.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr uint32_t HISTORY_MAX = 1000;
constexpr Nanos LOGS_LIMIT = 10 * SECOND;
constexpr const char* README =
    "What `dfsadmin bundle` has gathered of a CairnFS cluster, for a bug report.\n"
    "status.json, raft.json, shards.json: as the leading master tells; daemons.json: versions and log levels;\n"
    "settings.json: of the whole cluster; history.json: what administrators did; cluster.toml: where the masters are;\n"
    "logs/: those that were named with --log, as they are.\n"
    "Names of files and directories are left out of history.json, unless --names was given.\n";

struct Bundle {
  std::vector<ArchiveEntry> entries;
  std::vector<std::string> lacking;  // what could not be had, and why

  void add(const std::string& name, const Json& json) {
    entries.push_back({name, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"});
  }
};

// Words with a slash in them may be names of files.
std::string withoutPaths(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(' ', at), text.size());
    std::string word = text.substr(at, end - at);
    out += (at > 0 ? " " : "") + (word.find('/') == word.npos ? word : std::string("(path)"));
    at = end + 1;
  }
  return out;
}

void hidePaths(Json& history) {
  for (auto& item : history) {
    for (const char* key : {"command", "action", "why"}) {
      if (item[key].is_string()) {
        item[key] = withoutPaths(item[key].get<std::string>());
      }
    }
  }
}

Task<void> askMaster(Context& context, MasterLink& master, bool names, ShardMap& map, Bundle& bundle) {
  auto status = co_await readStatus(context, master);
  bundle.add("status.json", status);
  auto group = co_await readGroup(context, master);
  bundle.add("raft.json", group);
  auto settings = co_await readSettings(context, master.admin);
  bundle.add("settings.json", settings);
  auto history = co_await readHistory(context, master.admin, HISTORY_MAX);
  if (!names) {
    hidePaths(history);
  }
  bundle.add("history.json", history);
  auto read = co_await readMap(context, master.admin);
  map = std::move(read);
  Json shards = Json::array();
  for (const auto& [id, shard] : map.shards) {
    shards.push_back(shardJson(map, shard));
  }
  bundle.add("shards.json", shards);
}

Task<void> askDaemons(Context& context, const ClusterFile& cluster, const ShardMap& map, Bundle& bundle) {
  Json daemons = Json::array();
  for (const auto& place : daemonsOf(context, cluster, map)) {
    auto answer = co_await askDaemon(context, cluster, place, "");
    daemons.push_back(daemonJson(place, answer));
    if (!answer.unreachable.empty()) {
      bundle.lacking.push_back(place.name + " does not answer: " + answer.unreachable);
    }
  }
  bundle.add("daemons.json", daemons);
}

std::string lastName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void addTexts(Context& context, const Options& options, Bundle& bundle) {
  std::vector<std::string> paths = options.logs;
  paths.push_back(context.clusterFile.empty() ? usualPlace() : context.clusterFile);
  auto texts = context.readTexts(paths, LOGS_LIMIT);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string name = i < options.logs.size() ? "logs/" + lastName(paths[i]) : "cluster.toml";
    if (texts[i].ok()) {
      bundle.entries.push_back({name, texts[i].value()});
    } else {
      bundle.lacking.push_back(paths[i] + ": " + texts[i].error().why);
    }
  }
}

Status write(Context& context, const std::string& path, const std::string& bytes) {
  size_t slash = path.rfind('/');
  std::string directory = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  auto disk = context.openDisk(directory);
  if (!disk.ok()) {
    return disk.error();
  }
  return replaceFile(*disk.value(), lastName(path),
                     kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
}

}  // namespace

Task<int> makeBundle(Context& context, const Options& options) {
  auto file = readCluster(context);
  if (!file.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file", file.error().why);
  }
  Bundle bundle;
  ShardMap map;
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (master.ok()) {
    co_await askMaster(context, *master.value(), options.names, map, bundle);
  } else {
    bundle.lacking.push_back(master.error().why);
  }
  co_await askDaemons(context, file.value(), map, bundle);
  addTexts(context, options, bundle);
  std::string missing = joined(bundle.lacking, "\n");
  std::string heading = missing.empty() ? "" : "\nWhat could not be had:\n";
  bundle.entries.insert(bundle.entries.begin(), {"README", README + heading + missing + (missing.empty() ? "" : "\n")});
  int64_t now = context.clock.wall() / SECOND;
  std::string name = "cairnfs-bundle-" + std::to_string(now);
  std::string path = options.to.empty() ? name + ".tar.gz" : options.to;
  auto written = write(context, path, tarGz(name, bundle.entries, now));
  if (!written.ok()) {
    co_return complain(EXIT_REFUSED, "bundle-not-written", path + ": " + written.error().why);
  }
  if (context.json) {
    printJson({{"file", path}, {"lacking", bundle.lacking}});
  } else {
    std::cout << path << " has what a bug report needs"
              << (bundle.lacking.empty() ? "" : ", as far as it was to be had:") << "\n";
    for (const auto& what : bundle.lacking) {
      std::cout << "  " << what << "\n";
    }
  }
  co_return bundle.lacking.empty() ? EXIT_HEALTHY : EXIT_DEGRADED;
}

}  // namespace cairn::admin
