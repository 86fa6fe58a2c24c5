// dfsadmin df: how much room there is, for users and on the disks, and why.
#include <algorithm>
#include <iostream>
#include <map>

#include "master/placement/classes.h"
#include "master/space.h"
#include "tools/admin/class_path.h"
#include "tools/admin/shards.h"
#include "tools/admin/status.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

uint64_t less(uint64_t from, uint64_t taken) {
  return from - std::min(from, taken);
}

// What a volume adds to the whole, and how much users could write until it is full.
struct VolumeShare {
  std::string name;
  uint64_t total = 0;
  uint64_t used = 0;
  uint64_t shards = 0;
  uint64_t room = 0;
  uint64_t bound = UINT64_MAX;
};

// With the shards of that class.
std::vector<VolumeShare> sharesOf(const Json& status, const ShardMap& map, ClassId cls) {
  std::map<VolumeNumber, uint64_t> held;
  uint64_t count = 0;
  for (auto& [id, shard] : map.shards) {
    if (shardClass(id) != cls) {
      continue;
    }
    ++count;
    for (VolumeNumber number : shard.inSync) {
      ++held[number];
    }
  }
  std::vector<VolumeShare> shares;
  for (const auto& server : status["servers"]) {
    for (const auto& volume : server["volumes"]) {
      VolumeNumber number{volume["number"].get<uint32_t>()};
      VolumeShare share;
      share.name = memberText(map, number);
      share.total = volume["totalBytes"];
      share.used = volume["usedBytes"];
      share.shards = held.contains(number) ? held[number] : 0;
      share.room = less(refuseBytes(share.total), share.used);
      if (share.shards > 0) {
        share.bound = share.room / share.shards * count;
      }
      shares.push_back(share);
    }
  }
  return shares;
}

// From what the disks have to what users may write, step by step; the steps add up.
Json explanation(const Json& space, const std::vector<VolumeShare>& shares) {
  uint64_t raw = space["rawBytes"], used = space["usedBytes"];
  uint64_t copies = std::max<uint64_t>(space["copies"].get<uint64_t>(), 1);
  uint64_t reserve = raw - refuseBytes(raw);
  uint64_t free = less(raw, used + reserve);
  uint64_t even = free / copies;
  uint64_t available = space["availableBytes"];
  Json out = {{"rawBytes", raw},         {"usedBytes", used},
              {"reserveBytes", reserve}, {"retiredBytes", space["retiredBytes"]},
              {"freeBytes", free},       {"copies", copies},
              {"evenBytes", even},       {"imbalanceBytes", less(even, available)},
              {"availableBytes", available}};
  Json volumes = Json::array();
  for (const auto& share : shares) {
    Json bound = share.bound == UINT64_MAX ? Json(nullptr) : Json(share.bound);
    volumes.push_back({{"name", share.name},
                       {"totalBytes", share.total},
                       {"usedBytes", share.used},
                       {"roomBytes", share.room},
                       {"shards", share.shards},
                       {"boundBytes", bound}});
  }
  auto fullest = std::min_element(shares.begin(), shares.end(), [](auto& a, auto& b) { return a.bound < b.bound; });
  out["fullest"] = fullest == shares.end() ? Json(nullptr) : Json(fullest->name);
  out["volumes"] = volumes;
  return out;
}

void printExplanation(const Json& why) {
  auto size = [&](const char* key) { return sizeText(why[key].get<uint64_t>()); };
  std::cout << "\n";
  Table steps({"WHY", "BYTES"});
  steps.add({"on the disks", size("rawBytes")});
  steps.add({"- used", size("usedBytes")});
  steps.add({"- kept back for deletes, indexes and moving data", size("reserveBytes")});
  steps.add({"= free", size("freeBytes")});
  steps.add({"= of files in " + why["copies"].dump() + " copies", size("evenBytes")});
  steps.add({"- out of reach, for " + (why["fullest"].is_null() ? "none" : why["fullest"].get<std::string>()) +
                 " is full first",
             size("imbalanceBytes")});
  steps.add({"= available", size("availableBytes")});
  steps.print();
  std::cout << "Deleted and kept for a while, free when the room is wanted: " << size("retiredBytes") << "\n\n";
  Table volumes({"VOLUME", "TOTAL", "USED", "ROOM", "SHARDS", "FULL AFTER"});
  for (const auto& v : why["volumes"]) {
    volumes.add({v["name"], sizeText(v["totalBytes"]), sizeText(v["usedBytes"]), sizeText(v["roomBytes"]),
                 v["shards"].dump(), v["boundBytes"].is_null() ? "-" : sizeText(v["boundBytes"])});
  }
  volumes.print();
}

// What users may write in each class, all of it alone.
Json classesJson(const Json& status, const ShardMap& map) {
  Json out = Json::array();
  const auto& space = status["space"];
  uint64_t raw = space["rawBytes"], used = space["usedBytes"];
  for (auto& [id, cls] : map.classes) {
    uint64_t available = less(refuseBytes(raw), used) / cls.copies;
    for (auto& share : sharesOf(status, map, id)) {
      available = std::min(available, share.bound);
    }
    out.push_back({{"class", cairn::raw(id)},
                   {"copies", cls.copies},
                   {"level", levelName(cls.level)},
                   {"text", describe({cls.copies, cls.level})},
                   {"totalBytes", raw / cls.copies},
                   {"availableBytes", available}});
  }
  return out;
}

void printSpace(const Json& space) {
  Table table({"", "TOTAL", "USED", "AVAILABLE"});
  uint64_t rawTotal = space["rawBytes"], rawUsed = space["usedBytes"];
  for (const auto& cls : space["classes"]) {
    uint64_t total = cls["totalBytes"], available = cls["availableBytes"];
    table.add({"for files (" + cls["text"].get<std::string>() + ")", sizeText(total), sizeText(less(total, available)),
               sizeText(available)});
  }
  table.add({"on the disks", sizeText(rawTotal), sizeText(rawUsed), sizeText(less(rawTotal, rawUsed))});
  uint64_t files = space["files"], filesMax = space["filesMax"];
  table.add({"files", std::to_string(filesMax), std::to_string(files), std::to_string(less(filesMax, files))});
  table.print();
}

}  // namespace

Task<int> showSpace(Context& context, const Options& options) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  Json space = status["space"];
  auto map = co_await readMap(context, found.value()->admin);
  space["classes"] = classesJson(status, map);
  auto root = co_await resolveClass(context, *found.value(), map, "/");
  if (!root.ok()) {
    co_return complainOf(root.error());
  }
  Json why;
  if (options.explain) {
    why = explanation(space, sharesOf(status, map, root.value().cls.id));
  }
  if (context.json) {
    if (options.explain) {
      space["explain"] = why;
    }
    printJson(space);
    co_return EXIT_HEALTHY;
  }
  printSpace(space);
  if (options.explain) {
    printExplanation(why);
  }
  co_return EXIT_HEALTHY;
}

}  // namespace cairn::admin
