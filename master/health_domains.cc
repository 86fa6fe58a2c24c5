#include "master/health_domains.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "master/placement/classes.h"

namespace cairn {
namespace {

constexpr ptrdiff_t NAMES_SHOWN = 4;

// A class counts on something that a server doesn't say.
void addUnknown(const ShardMap& map, wire::FailureDomain level, std::vector<Reason>& out) {
  std::set<std::string> silent;
  for (auto& [id, server] : map.servers) {
    bool counts = server.state != wire::ServerState::DEAD && server.state != wire::ServerState::DRAINED;
    if (counts && !saysDomain(server, level)) {
      silent.insert(server.name);
    }
  }
  if (silent.empty()) {
    return;
  }
  size_t count = silent.size();
  std::string names;
  for (auto at = silent.begin(); at != silent.end() && std::distance(silent.begin(), at) < NAMES_SHOWN; ++at) {
    names += (names.empty() ? "" : ", ") + *at;
  }
  std::string what = levelName(level);
  size_t more = count - std::min<size_t>(count, NAMES_SHOWN);
  names += more > 0 ? " and " + std::to_string(more) + " more" : "";
  out.push_back({what + "-unknown",
                 "it is not known which " + what + " " + names + (count == 1 ? " is" : " are") +
                     " in, so copies that must not share one may share it",
                 "start " + std::string(count == 1 ? "it" : "them") + " with --" + what + " NAME", false});
}

// Shards two of whose copies share a domain: they were apart until a server came to be said to be elsewhere.
size_t countTogether(const ShardMap& map, const ReplicationClass& cls) {
  size_t count = 0;
  for (auto at = map.shards.lower_bound(makeShardId(cls.id, 0)); at != map.shards.end(); ++at) {
    if (shardClass(at->first) != cls.id) {
      break;
    }
    std::set<Domain> used;
    size_t members = 0;
    for (VolumeNumber volume : at->second.target) {
      if (const ServerRecord* server = map.serverOf(volume)) {
        ++members;
        used.insert(domainOf(*server, cls.level));
      }
    }
    count += used.size() < members;
  }
  return count;
}

void addShort(const ShardMap& map, const ReplicationClass& cls, std::vector<Reason>& out) {
  ClassWish wish{cls.copies, cls.level};
  std::string what = levelName(cls.level);
  size_t domains = usableDomains(map, cls.level).size();
  if (domains < cls.copies) {
    out.push_back({what + "s-missing",
                   describe(wish) + " are wanted, and " + std::to_string(domains) + " " + what +
                       (domains == 1 ? " has" : "s have") + " a server in service: files have fewer copies",
                   "bring back what is down, or add chunkservers in another " + what, false});
  }
  size_t together = countTogether(map, cls);
  if (together > 0) {
    out.push_back({"copies-together",
                   std::to_string(together) + (together == 1 ? " shard has" : " shards have") + " copies in one " +
                       what + " that should be in different ones",
                   domains < cls.copies ? "add chunkservers in another " + what : "", false});
  }
}

}  // namespace

void assessDomains(const ShardMap& map, std::vector<Reason>& out) {
  std::set<wire::FailureDomain> levels;
  for (auto& [id, cls] : map.classes) {
    if (cls.level != wire::FailureDomain::SERVER) {
      addShort(map, cls, out);
      levels.insert(cls.level);
    }
  }
  for (auto level : levels) {
    addUnknown(map, level, out);
  }
}

}  // namespace cairn
