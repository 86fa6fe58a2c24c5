#include "master/placement/classes.h"

#include <algorithm>
#include <cerrno>

namespace cairn {
namespace {

constexpr size_t NAMES_SHOWN = 8;

std::string listOf(const std::map<Domain, std::string>& domains) {
  std::string out;
  size_t shown = 0;
  for (auto& [domain, name] : domains) {
    if (++shown > NAMES_SHOWN) {
      return out + ", ...";
    }
    out += (out.empty() ? ": " : ", ") + name;
  }
  return out;
}

}  // namespace

std::string describe(const ClassWish& wish) {
  if (wish.copies == 1) {
    return "1 copy";
  }
  const char* place = wish.level == wire::FailureDomain::SERVER ? " on different " : " in different ";
  return std::to_string(wish.copies) + " copies" + place + levelName(wish.level) + "s";
}

const ReplicationClass* findClass(const ShardMap& map, const ClassWish& wish) {
  for (auto& [id, cls] : map.classes) {
    if (cls.copies == wish.copies && cls.level == wish.level) {
      return &cls;
    }
  }
  return nullptr;
}

Status mayHave(const ShardMap& map, const ClassWish& wish) {
  if (wish.copies < 1 || wish.copies > CLASS_COPIES_MAX) {
    return Error{EINVAL, "there can be 1 to " + std::to_string(CLASS_COPIES_MAX) + " copies, not " +
                             std::to_string(wish.copies)};
  }
  if (wish.level > wire::FailureDomain::ZONE) {
    return Error{EINVAL, "this master knows no such failure domain; is it of an older version?"};
  }
  auto domains = usableDomains(map, wish.level);
  if (domains.size() < wish.copies) {
    bool single = wish.copies == 1;
    std::string wanted = (single ? " needs 1 " : " need " + std::to_string(wish.copies) + " ") +
                         levelName(wish.level) + (single ? "" : "s") +
                         (wish.level == wire::FailureDomain::SERVER ? " in service" : " with a server in service");
    return Error{EINVAL, describe(wish) + wanted + "; there " + (domains.size() == 1 ? "is " : "are ") +
                             std::to_string(domains.size()) + listOf(domains)};
  }
  if (findClass(map, wish) == nullptr && map.classes.size() >= CLASSES_MAX) {
    return Error{ENOSPC, "there are " + std::to_string(CLASSES_MAX) +
                             " replication classes already, the most there can be: use what another directory has"};
  }
  return {};
}

ReplicationClass newClass(const ShardMap& map, const ClassWish& wish) {
  ReplicationClass out;
  out.id = map.classes.empty() ? ClassId{0} : ClassId{static_cast<uint16_t>(raw(map.classes.rbegin()->first) + 1)};
  out.copies = static_cast<uint8_t>(wish.copies);
  out.minCopies = wish.copies > 1 ? 2 : 1;
  out.shardBits = map.classes.empty() ? DEFAULT_SHARD_BITS : map.classes.begin()->second.shardBits;
  out.level = wish.level;
  return out;
}

}  // namespace cairn
