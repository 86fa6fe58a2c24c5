// Settings of the whole cluster that can change while it runs. cluster.toml has the values that it starts with;
// `dfsadmin config set` puts others into the replicated state, which then count on every daemon.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/cluster_file.h"

namespace cairn {

struct SettingRule {
  std::string_view name;  // as in cluster.toml
  uint64_t min;
  uint64_t max;
  uint32_t ClusterFile::*field;
  std::string_view what;  // for people
};
const std::vector<SettingRule>& settingRules();
// nullptr: there is none of that name.
const SettingRule* settingRule(std::string_view name);

// Those that are set. REQUIRES: names and values are as the rules allow.
using Settings = std::map<std::string, uint64_t, std::less<>>;

// What counts: `file` with what is set in its place.
ClusterFile inForce(ClusterFile file, const Settings& settings);

}  // namespace cairn
