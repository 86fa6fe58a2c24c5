// dfsadmin config: settings of the whole cluster, and how much the daemons log.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>

#include "common/settings.h"
#include "fuse-client/client/wire.h"
#include "tools/admin/daemons.h"
#include "tools/admin/history.h"
#include "tools/admin/settings_list.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

// A number, or a duration where the setting is one. Nothing: it is neither.
std::optional<uint64_t> valueOf(const SettingRule& rule, const std::string& text) {
  uint64_t number = 0;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (wrong == std::errc() && end == text.data() + text.size()) {
    return number;
  }
  bool seconds = rule.field != &ClusterFile::repairMibPerSecond && rule.field != &ClusterFile::scrubDays;
  uint32_t duration = seconds ? secondsOf(text) : 0;
  return duration > 0 ? std::optional<uint64_t>(duration) : std::nullopt;
}

std::string whatOf(const std::string& name) {
  const SettingRule* rule = settingRule(name);
  return rule == nullptr ? "of a newer version" : std::string(rule->what);
}

void print(const Json& settings) {
  Table table({"SETTING", "VALUE", "FROM", "WHAT"});
  for (const auto& setting : settings) {
    const std::string name = setting["name"];
    table.add({name, setting["value"].dump(), setting["set"].get<bool>() ? "config set" : "cluster.toml",
               whatOf(name)});
  }
  table.print();
}

int tell(const Context& context, const Json& settings, const std::string& name) {
  Json chosen = Json::array();
  for (const auto& setting : settings) {
    if (name.empty() || setting["name"] == name) {
      chosen.push_back(setting);
    }
  }
  if (chosen.empty()) {
    return complain(EXIT_REFUSED, "setting-refused", "there is no setting '" + name + "'; see: dfsadmin config get");
  }
  context.json ? printJson({{"settings", chosen}}) : print(chosen);
  return EXIT_HEALTHY;
}

struct Wish {
  std::string name;
  uint64_t value = 0;
  bool reset = false;
};

Task<Status> send(Context& context, wire::Admin::Client admin, const Wish& wish) {
  auto request = admin.changeSettingRequest();
  auto change = request.initChange();
  change.setName(wish.name);
  change.setValue(wish.value);
  change.setReset(wish.reset);
  kj::Promise<capnp::Response<wire::Admin::ChangeSettingResults>> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "changing a setting");
  co_return readOutcome(reply.getOutcome());
}

void printLevels(const Json& daemons) {
  Table table({"DAEMON", "KIND", "LOG LEVEL", "VERSION"});
  for (const auto& one : daemons) {
    bool here = one["reachable"];
    table.add({one["name"], one["kind"], here ? one["logLevel"].get<std::string>() : "does not answer",
               here ? one["version"].get<std::string>() : "-"});
  }
  table.print();
}

// Where it can be written down. What has no leader may need a look at its logs all the more.
Task<uint64_t> noteLevel(Context& context, MasterLink* master, const Options& options) {
  if (options.level.empty() || master == nullptr) {
    co_return 0;
  }
  auto begun = co_await beginAction(context, master->admin, "config log " + options.name + " " + options.level);
  co_return begun.ok() ? begun.value() : 0;
}

}  // namespace

Task<Json> readSettings(Context& context, wire::Admin::Client admin) {
  kj::Promise<capnp::Response<wire::Admin::SettingsResults>> sent = admin.settingsRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "reading the settings");
  Json settings = Json::array();
  for (auto setting : reply.getSettings()) {
    settings.push_back(
        {{"name", setting.getName().cStr()}, {"value", setting.getValue()}, {"set", setting.getIsSet()}});
  }
  co_return settings;
}

Task<int> getConfig(Context& context, const Options& options) {
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto settings = co_await readSettings(context, master.value()->admin);
  co_return tell(context, settings, options.name);
}

Task<int> setConfig(Context& context, const Options& options) {
  const SettingRule* rule = settingRule(options.name);
  if (rule == nullptr) {
    co_return complain(EXIT_REFUSED, "setting-refused",
                       "there is no setting '" + options.name + "'; see: dfsadmin config get");
  }
  Wish wish{options.name};
  wish.reset = options.value == "default";
  auto value = wish.reset ? std::optional<uint64_t>(0) : valueOf(*rule, options.value);
  if (!value) {
    co_return complain(EXIT_USAGE, "usage",
                       "'" + options.value + "' is no value of " + options.name + "; write a whole number, or default");
  }
  wish.value = *value;
  auto master = co_await findMaster(context, FIND_LIMIT);
  if (!master.ok()) {
    co_return complainOf(master.error());
  }
  auto changed = co_await send(context, master.value()->admin, wish);
  if (!changed.ok()) {
    co_return complain(EXIT_REFUSED, "setting-refused", changed.error().why);
  }
  auto settings = co_await readSettings(context, master.value()->admin);
  co_return tell(context, settings, options.name);
}

Task<int> logConfig(Context& context, const Options& options) {
  auto file = readCluster(context);
  if (!file.ok()) {
    co_return complain(EXIT_REFUSED, "cluster-file", file.error().why);
  }
  auto master = co_await findMaster(context, FIND_LIMIT);
  ShardMap map;
  if (master.ok()) {
    auto read = co_await readMap(context, master.value()->admin);
    map = std::move(read);
  }
  auto places = daemonsOf(context, file.value(), map);
  std::erase_if(places, [&](const DaemonPlace& place) { return !options.name.empty() && place.name != options.name; });
  if (places.empty()) {
    co_return complain(EXIT_REFUSED, "daemon-not-found",
                       "there is no daemon '" + options.name + "'" +
                           (master.ok() ? "" : ", and no master leads who knows the chunkservers"));
  }
  auto noted = co_await noteLevel(context, master.ok() ? master.value().get() : nullptr, options);
  Json daemons = Json::array();
  Status outcome;
  int code = EXIT_HEALTHY;
  for (const auto& place : places) {
    auto answer = co_await askDaemon(context, file.value(), place, options.level);
    daemons.push_back(daemonJson(place, answer));
    if (!answer.refused.empty()) {
      outcome = Error{EINVAL, place.name + ": " + answer.refused};
      code = std::max(code, complain(EXIT_REFUSED, "daemon-refused", outcome.error().why));
    } else if (!answer.unreachable.empty()) {
      outcome = Error{ENOTCONN, place.name + " does not answer: " + answer.unreachable};
      code = std::max(code, complain(EXIT_UNREACHABLE, "daemon-silent", outcome.error().why));
    }
  }
  if (noted != 0) {
    co_await endAction(context, master.value()->admin, noted, outcome);
  }
  context.json ? printJson({{"daemons", daemons}}) : printLevels(daemons);
  co_return code;
}

}  // namespace cairn::admin
