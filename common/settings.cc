#include "common/settings.h"

#include <algorithm>

namespace cairn {

namespace {

constexpr uint64_t DAY_SECONDS = 86400;
constexpr uint64_t SCRUB_DAYS_MAX = 3650;
constexpr uint64_t REPAIR_MIB_MAX = 1 << 20;
constexpr uint64_t KEPT_SECONDS_MAX = DAY_SECONDS * 365;

}  // namespace

const std::vector<SettingRule>& settingRules() {
  using File = ClusterFile;
  static const std::vector<SettingRule> rules = {
      {"repair_delay", 1, DAY_SECONDS, &File::repairDelaySeconds,
       "seconds after which a lost chunkserver's copies are made elsewhere"},
      {"scrub_days", 1, SCRUB_DAYS_MAX, &File::scrubDays, "days in which every stored byte is read and checked"},
      {"repair_mib_per_second", 0, REPAIR_MIB_MAX, &File::repairMibPerSecond,
       "MiB/s at which a joining chunkserver fetches; 0: as fast as users don't feel it"},
      {"orphan_seconds", 1, KEPT_SECONDS_MAX, &File::orphanSeconds,
       "seconds for which a chunk must have been no file's before it goes into quarantine"},
      {"quarantine_seconds", 1, KEPT_SECONDS_MAX, &File::quarantineSeconds,
       "seconds for which chunkservers keep what was deleted, unless the room is wanted"},
  };
  return rules;
}

const SettingRule* settingRule(std::string_view name) {
  const auto& rules = settingRules();
  auto found = std::find_if(rules.begin(), rules.end(), [&](auto& rule) { return rule.name == name; });
  return found == rules.end() ? nullptr : &*found;
}

ClusterFile inForce(ClusterFile file, const Settings& settings) {
  for (const auto& [name, value] : settings) {
    if (const SettingRule* rule = settingRule(name)) {
      file.*(rule->field) = static_cast<uint32_t>(value);
    }
  }
  return file;
}

}  // namespace cairn
