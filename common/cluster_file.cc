#include "common/cluster_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <sstream>

#include "common/settings.h"

namespace cairn {

namespace {

constexpr int64_t COPIES_MAX = 16;
constexpr int64_t SERVERS_MAX = 4096;
constexpr int64_t CERTIFICATE_SECONDS_MAX = int64_t{3600} * 24 * 365;

// Collects the first complaint; later ones are mostly its consequences.
class Checker {
 public:
  explicit Checker(const std::string& path) : path_(path) {}

  bool ok() const { return why_.empty(); }
  Error error() const { return Error{EINVAL, why_}; }

  void complain(const toml::source_region& where, const std::string& why) {
    if (ok()) {
      why_ = path_ + ":" + std::to_string(where.begin.line) + ": " + why;
    }
  }
  // For what is absent and so has no line.
  void complainMissing(const std::string& why) {
    if (ok()) {
      why_ = path_ + ": " + why;
    }
  }

  void allowKeys(const toml::table& table, const std::string& name, std::initializer_list<std::string_view> keys) {
    std::string known;
    for (auto key : keys) {
      known += (known.empty() ? "" : ", ") + std::string(key);
    }
    for (const auto& [key, value] : table) {
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
        complain(value.source(), "unknown key '" + std::string(key.str()) + "' in " + name + "; known there: " + known);
      }
    }
  }

  std::string text(const toml::table& table, const std::string& owner, const char* key, const char* form) {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      complain(table.source(), owner + " has no '" + key + "'; write " + key + " = " + form);
      return {};
    }
    const auto* value = node->as_string();
    if (value == nullptr || value->get().empty()) {
      complain(node->source(),
               "'" + std::string(key) + "' of " + owner + " must be a text in quotes; write " + key + " = " + form);
      return {};
    }
    return value->get();
  }

  void number(const toml::table& table, const char* key, int64_t max, uint32_t& out) {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      return;
    }
    const auto* value = node->as_integer();
    if (value == nullptr || value->get() < 1 || value->get() > max) {
      complain(node->source(), "'" + std::string(key) + "' must be a whole number from 1 to " + std::to_string(max));
      return;
    }
    out = static_cast<uint32_t>(value->get());
  }

 private:
  std::string path_;
  std::string why_;
};

bool isName(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

bool isHostAndPort(const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) {
    return false;
  }
  std::string port = text.substr(colon + 1);
  bool digits = !port.empty() && port.size() <= 5 &&
                std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits && std::stoul(port) >= 1 && std::stoul(port) <= 65535;
}

MasterAddress readMaster(Checker& checker, const toml::table& table, const std::string& directory) {
  checker.allowKeys(table, "[[master]]", {"name", "address", "socket"});
  MasterAddress master;
  master.name = checker.text(table, "[[master]]", "name", "\"m1\"");
  std::string owner = "master '" + master.name + "'";
  if (checker.ok() && !isName(master.name)) {
    checker.complain(table.get("name")->source(),
                     "name '" + master.name + "' must consist of letters, digits, '-' and '_'");
  }
  master.address = checker.text(table, owner, "address", "\"127.0.0.1:7000\"");
  if (checker.ok() && !isHostAndPort(master.address)) {
    checker.complain(table.get("address")->source(), "address '" + master.address + "' of " + owner +
                                                         " must be \"host:port\" with a port of 1 to 65535");
  }
  if (table.contains("socket")) {
    std::string socket = checker.text(table, owner, "socket", "\"run/m1.sock\"");
    master.socket = !socket.empty() && socket[0] == '/' ? socket : directory + socket;
  }
  return master;
}

void readMasters(Checker& checker, const toml::table& root, const std::string& directory, ClusterFile& out) {
  const toml::node* node = root.get("master");
  if (node == nullptr) {
    checker.complainMissing("names no master; add [[master]] with name = \"m1\" and address = \"127.0.0.1:7000\"");
    return;
  }
  const auto* array = node->as_array();
  if (array == nullptr || array->empty() || !array->is_homogeneous(toml::node_type::table)) {
    checker.complain(node->source(), "'master' must be a list of tables; write [[master]], one for each master");
    return;
  }
  for (const auto& element : *array) {
    auto master = readMaster(checker, *element.as_table(), directory);
    for (const auto& other : out.masters) {
      if (master.name == other.name || master.address == other.address ||
          (!master.socket.empty() && master.socket == other.socket)) {
        checker.complain(element.source(), "master '" + master.name + "' has the name, address or socket of master '" +
                                               other.name + "'; each needs its own");
      }
    }
    out.masters.push_back(std::move(master));
  }
}

// One that can be changed later, too.
void readSetting(Checker& checker, const toml::table& table, const char* name, ClusterFile& out) {
  const SettingRule* rule = settingRule(name);
  checker.number(table, name, static_cast<int64_t>(rule->max), out.*(rule->field));
}

void readDefaults(Checker& checker, const toml::table& root, ClusterFile& out) {
  const toml::node* node = root.get("defaults");
  if (node == nullptr) {
    return;
  }
  const auto* table = node->as_table();
  if (table == nullptr) {
    checker.complain(node->source(), "'defaults' must be a table; write [defaults] and the keys below it");
    return;
  }
  checker.allowKeys(*table, "[defaults]", {"copies", "min_copies", "servers", "repair_delay"});
  checker.number(*table, "copies", COPIES_MAX, out.copies);
  out.minCopies = std::min(out.minCopies, out.copies);
  checker.number(*table, "min_copies", COPIES_MAX, out.minCopies);
  out.servers = std::max(out.minCopies, std::min(out.servers, out.copies));
  checker.number(*table, "servers", SERVERS_MAX, out.servers);
  readSetting(checker, *table, "repair_delay", out);
  if (out.minCopies > out.copies) {
    checker.complain(table->source(), "min_copies (" + std::to_string(out.minCopies) + ") is above copies (" +
                                          std::to_string(out.copies) + "), so no write could ever finish; lower it");
  }
  if (out.servers < out.minCopies) {
    checker.complain(table->source(), "servers (" + std::to_string(out.servers) + ") is below min_copies (" +
                                          std::to_string(out.minCopies) + "), so no write could ever finish; raise it");
  }
}

void readSecurity(Checker& checker, const toml::table& root, const std::string& directory, ClusterFile& out) {
  const toml::node* node = root.get("security");
  if (node == nullptr) {
    return;
  }
  const auto* table = node->as_table();
  if (table == nullptr) {
    checker.complain(node->source(), "'security' must be a table; write [security] and the keys below it");
    return;
  }
  checker.allowKeys(*table, "[security]", {"directory", "certificate_seconds"});
  std::string named = checker.text(*table, "[security]", "directory", "\"tls\"");
  out.securityDirectory = !named.empty() && named[0] == '/' ? named : directory + named;
  checker.number(*table, "certificate_seconds", CERTIFICATE_SECONDS_MAX, out.certificateSeconds);
}

void readUpkeep(Checker& checker, const toml::table& root, ClusterFile& out) {
  const toml::node* node = root.get("upkeep");
  if (node == nullptr) {
    return;
  }
  const auto* table = node->as_table();
  if (table == nullptr) {
    checker.complain(node->source(), "'upkeep' must be a table; write [upkeep] and the keys below it");
    return;
  }
  checker.allowKeys(*table, "[upkeep]",
                    {"scrub_days", "repair_mib_per_second", "orphan_seconds", "quarantine_seconds"});
  for (const char* name : {"scrub_days", "repair_mib_per_second", "orphan_seconds", "quarantine_seconds"}) {
    readSetting(checker, *table, name, out);
  }
}

}  // namespace

std::vector<std::string> MasterAddress::addresses() const {
  std::vector<std::string> out;
  if (!socket.empty()) {
    out.push_back("unix:" + socket);
  }
  if (!address.empty()) {
    out.push_back(address);
  }
  return out;
}

std::string clusterFileText(const ClusterFile& cluster) {
  std::ostringstream text;
  text << "# Every program finds the cluster through this file; it knows no secret.\ncluster = \""
       << toText(cluster.cluster) << "\"\n";
  if (cluster.epoch != GroupEpoch{}) {
    text << "epoch = \"" << toText(cluster.epoch) << "\"\n";
  }
  for (const auto& master : cluster.masters) {
    text << "\n[[master]]\nname = \"" << master.name << "\"\naddress = \"" << master.address << "\"\n";
  }
  text << "\n[security]\ndirectory = \"tls\"\ncertificate_seconds = " << cluster.certificateSeconds
       << "\n\n[defaults]\ncopies = " << cluster.copies << "\nmin_copies = " << cluster.minCopies
       << "\nservers = " << cluster.servers << "\nrepair_delay = " << cluster.repairDelaySeconds
       << "\n\n[upkeep]\nscrub_days = " << cluster.scrubDays << "\norphan_seconds = " << cluster.orphanSeconds
       << "\nquarantine_seconds = " << cluster.quarantineSeconds << "\n";
  if (cluster.repairMibPerSecond > 0) {
    text << "repair_mib_per_second = " << cluster.repairMibPerSecond << "\n";
  }
  return text.str();
}

Result<ClusterFile> parseClusterFile(const std::string& text, const std::string& path) {
  toml::table root;
  try {
    root = toml::parse(text, path);
  } catch (const toml::parse_error& e) {
    return Error{EINVAL, path + ":" + std::to_string(e.source().begin.line) +
                             ": not valid TOML: " + std::string(e.description()) + "; correct that line"};
  }
  Checker checker(path);
  checker.allowKeys(root, "the file", {"cluster", "epoch", "master", "defaults", "security", "upkeep"});
  ClusterFile out;
  constexpr const char* CLUSTER_FORM = "\"32 hex digits\" (\"dfsadmin cluster init\" makes one)";
  if (!root.contains("cluster")) {
    checker.complainMissing("has no 'cluster'; write cluster = " + std::string(CLUSTER_FORM));
  } else {
    std::string id = checker.text(root, "the file", "cluster", CLUSTER_FORM);
    if (checker.ok() && (!parse(id, out.cluster) || out.cluster.isNull())) {
      checker.complain(root.get("cluster")->source(),
                       "'" + id + "' is no cluster id; write cluster = " + std::string(CLUSTER_FORM));
    }
  }
  if (root.contains("epoch")) {
    std::string epoch = checker.text(root, "the file", "epoch", "\"1-5f3a9c21\"");
    if (checker.ok() && !parse(epoch, out.epoch)) {
      checker.complain(root.get("epoch")->source(),
                       "'" + epoch + "' is no epoch; write what `dfsadmin raft recover` has printed");
    }
  }
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  readMasters(checker, root, directory, out);
  readSecurity(checker, root, directory, out);
  readDefaults(checker, root, out);
  readUpkeep(checker, root, out);
  if (!checker.ok()) {
    return checker.error();
  }
  return out;
}

}  // namespace cairn
