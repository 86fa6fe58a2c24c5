#include "tools/admin/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

Json heldJson(wire::HeldRemoval::Reader held) {
  if (held.getPlan() == 0) {
    return nullptr;
  }
  return {{"plan", fmt::format("{:016x}", held.getPlan())},
          {"unknownChunks", held.getUnknownChunks()},
          {"surplusChunks", held.getSurplusChunks()},
          {"ofChunks", held.getOfChunks()}};
}

Json volumesJson(capnp::List<wire::VolumeStatus>::Reader volumes) {
  Json out = Json::array();
  for (auto volume : volumes) {
    out.push_back({{"id", toText(fromWire<VolumeTag>(volume.getId()))},
                   {"number", volume.getNumber()},
                   {"state", volume.getState().cStr()},
                   {"usedBytes", volume.getUsedBytes()},
                   {"totalBytes", volume.getTotalBytes()},
                   {"retiredBytes", volume.getRetiredBytes()},
                   {"held", heldJson(volume.getHeld())},
                   {"badBlocks", volume.getBadBlocks()},
                   {"adoptedBlocks", volume.getAdoptedBlocks()},
                   {"ownBytes", volume.getOwnBytes()},
                   {"unmendedBlocks", volume.getUnmendedBlocks()},
                   {"differingChunks", volume.getDifferingChunks()},
                   {"slow", volume.getSlow()}});
  }
  return out;
}

Json reasonsJson(wire::ClusterStatus::Reader status) {
  Json out = Json::array();
  for (auto reason : status.getReasons()) {
    out.push_back({{"code", reason.getCode().cStr()},
                   {"text", reason.getText().cStr()},
                   {"action", reason.getAction().cStr()},
                   {"critical", reason.getCritical()}});
  }
  return out;
}

Json namesJson(capnp::List<capnp::Text>::Reader names) {
  Json out = Json::array();
  for (auto name : names) {
    out.push_back(name.cStr());
  }
  return out;
}

Json mastersJson(wire::ClusterStatus::Reader status) {
  Json out = Json::array();
  for (auto master : status.getMasters()) {
    out.push_back({{"name", master.getName().cStr()},
                   {"address", master.getAddress().cStr()},
                   {"role", master.getRole().cStr()},
                   {"version", master.getVersion().cStr()},
                   {"term", master.getTerm()},
                   {"commitIndex", master.getCommitIndex()},
                   {"appliedIndex", master.getAppliedIndex()}});
  }
  std::sort(out.begin(), out.end(), [](const Json& a, const Json& b) { return a["name"] < b["name"]; });
  return out;
}

Json serversJson(wire::ClusterStatus::Reader status) {
  Json out = Json::array();
  for (auto server : status.getServers()) {
    out.push_back({{"name", server.getName().cStr()},
                   {"address", server.getAddress().cStr()},
                   {"state", server.getState().cStr()},
                   {"online", server.getOnline()},
                   {"version", server.getVersion().cStr()},
                   {"rack", server.getRack().cStr()},
                   {"zone", server.getZone().cStr()},
                   {"maintenanceSecondsLeft", server.getMaintenanceSecondsLeft()},
                   {"volumes", volumesJson(server.getVolumes())}});
  }
  std::sort(out.begin(), out.end(), [](const Json& a, const Json& b) { return a["name"] < b["name"]; });
  return out;
}

Json shardsJson(wire::ShardCounts::Reader shards) {
  return {{"total", shards.getTotal()},
          {"healthy", shards.getHealthy()},
          {"degraded", shards.getDegraded()},
          {"atRisk", shards.getAtRisk()},
          {"unavailable", shards.getUnavailable()},
          {"misplaced", shards.getMisplaced()}};
}

Json repairJson(wire::ClusterStatus::Reader status) {
  uint64_t left = status.getRepairBytesLeft();
  uint64_t speed = status.getRepairBytesPerSecond();
  Json eta = left == 0 ? Json(0) : speed == 0 ? Json(nullptr) : Json((left + speed - 1) / speed);
  return {{"bytesLeft", left}, {"bytesPerSecond", speed}, {"etaSeconds", eta}};
}

Json spaceJson(wire::Space::Reader space) {
  return {{"rawBytes", space.getRawTotalBytes()},        {"usedBytes", space.getRawUsedBytes()},
          {"availableBytes", space.getAvailableBytes()}, {"totalBytes", space.getTotalBytes()},
          {"files", space.getFiles()},                   {"filesMax", space.getFilesMax()},
          {"copies", space.getCopies()},                 {"retiredBytes", space.getRetiredBytes()}};
}

std::string number(const Json& value) { return value.dump(); }

// One version when all run the same; else who runs which, and what that holds up.
std::string versionsText(const Json& status) {
  std::map<std::string, std::string> names;
  for (const char* kind : {"masters", "servers"}) {
    for (const auto& one : status[kind]) {
      std::string version = one["version"];
      std::string& list = names[version.empty() ? "not known" : version];
      list += (list.empty() ? "" : ", ") + one["name"].get<std::string>();
    }
  }
  std::string out = names.size() == 1 ? names.begin()->first : "";
  for (const auto& [version, list] : names) {
    out += names.size() == 1 ? "" : (out.empty() ? "" : "; ") + version + ": " + list;
  }
  return out + ", feature level " + number(status["level"]);
}

void printSummary(const Json& status) {
  std::cout << "Cluster " << status["cluster"].get<std::string>() << " is " << status["health"].get<std::string>()
            << "\n";
  for (const auto& reason : status["reasons"]) {
    std::cout << "  " << reason["code"].get<std::string>() << ": " << reason["text"].get<std::string>() << "\n    -> "
              << reason["action"].get<std::string>() << "\n";
  }
  if (!status["reasons"].empty()) {
    std::cout << "  More of each: dfsadmin explain CODE\n";
  }
  const auto& shards = status["shards"];
  const auto& space = status["space"];
  std::cout << "Shards   " << number(shards["total"]) << ": " << number(shards["healthy"]) << " healthy, "
            << number(shards["degraded"]) << " degraded, " << number(shards["atRisk"]) << " at risk, "
            << number(shards["unavailable"]) << " unavailable, " << number(shards["misplaced"]) << " misplaced\n"
            << "Space    " << sizeText(space["availableBytes"]) << " available, " << sizeText(space["usedBytes"])
            << " of " << sizeText(space["rawBytes"]) << " used on the disks (" << number(space["copies"])
            << " copies)\n"
            << "Sessions " << number(status["sessions"]) << "\n"
            << "Versions " << versionsText(status) << "\n";
  const auto& repair = status["repair"];
  if (repair["bytesLeft"] != 0) {
    std::cout << "Repair   " << sizeText(repair["bytesLeft"]) << " left at " << sizeText(repair["bytesPerSecond"])
              << "/s\n";
  }
}

void printNodes(const Json& status) {
  std::cout << "\n";
  Table masters({"MASTER", "ADDRESS", "ROLE", "TERM", "COMMITTED", "APPLIED"});
  for (const auto& m : status["masters"]) {
    masters.add({m["name"], m["address"], m["role"], number(m["term"]), number(m["commitIndex"]),
                 number(m["appliedIndex"])});
  }
  masters.print();
  std::cout << "\n";
  Table servers({"SERVER", "ADDRESS", "STATE", "ONLINE", "VOLUMES", "USED", "TOTAL", "BAD BLOCKS"});
  for (const auto& s : status["servers"]) {
    uint64_t used = 0, total = 0, bad = 0;
    for (const auto& v : s["volumes"]) {
      used += v["usedBytes"].get<uint64_t>();
      total += v["totalBytes"].get<uint64_t>();
      bad += v["badBlocks"].get<uint64_t>();
    }
    servers.add({s["name"], s["address"], s["state"], s["online"].get<bool>() ? "yes" : "no",
                 std::to_string(s["volumes"].size()), sizeText(used), sizeText(total), std::to_string(bad)});
  }
  servers.print();
}

}  // namespace

Task<Json> readStatus(Context& context, MasterLink& master) {
  kj::Promise<capnp::Response<wire::Admin::StatusResults>> sent = master.admin.statusRequest().send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT, kj::mv(sent), "status");
  auto status = reply.getStatus();
  Json out;
  out["health"] = status.getHealth().cStr();
  out["reasons"] = reasonsJson(status);
  out["cluster"] = toText(master.cluster.cluster);
  out["version"] = status.getVersion().cStr();
  out["level"] = status.getLevel();
  out["levelHeldBy"] = namesJson(status.getLevelHeldBy());
  out["masters"] = mastersJson(status);
  out["servers"] = serversJson(status);
  out["shards"] = shardsJson(status.getShards());
  out["repair"] = repairJson(status);
  out["space"] = spaceJson(status.getSpace());
  out["sessions"] = status.getSessions();
  out["reclaimBacklog"] = status.getReclaimBacklog();
  co_return kj::mv(out);
}

int healthCode(const Json& status) {
  const auto& health = status["health"];
  return health == "healthy" ? EXIT_HEALTHY : health == "degraded" ? EXIT_DEGRADED : EXIT_REFUSED;
}

Task<int> showStatus(Context& context, const Options&) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  auto status = co_await readStatus(context, *found.value());
  if (context.json) {
    printJson(status);
  } else {
    printSummary(status);
    printNodes(status);
  }
  co_return healthCode(status);
}

}  // namespace cairn::admin
