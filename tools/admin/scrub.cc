// dfsadmin scrub: asks the chunkservers themselves, one after another.
#include <algorithm>
#include <cerrno>
#include <iostream>

#include "tools/admin/chunk_doors.h"
#include "tools/admin/history.h"
#include "tools/admin/master_link.h"
#include "tools/admin/output.h"
#include "tools/admin/shards.h"
#include "tools/admin/verbs.h"

namespace cairn::admin {

namespace {

constexpr Nanos ANSWER_LIMIT_OF_SERVER = 5 * SECOND;

using Reply = capnp::Response<wire::ChunkService::ScrubResults>;

Json volumeJson(const std::string& server, wire::ScrubState::Reader in) {
  return {{"server", server},
          {"volume", toText(fromWire<VolumeTag>(in.getVolume()))},
          {"running", in.getRunning()},
          {"fast", in.getFast()},
          {"bytesDone", in.getBytesDone()},
          {"bytesTotal", in.getBytesTotal()},
          {"bytesPerSecond", in.getBytesPerSecond()},
          {"begun", in.getBegun()},
          {"lastPassBegun", in.getLastPassBegun()},
          {"lastPassEnded", in.getLastPassEnded()},
          {"badBlocks", in.getBadBlocks()},
          {"mended", in.getMended()},
          {"unmended", in.getUnmended()},
          {"differing", in.getDiffering()}};
}

std::string agoText(int64_t then, int64_t now) {
  return then == 0 ? "never" : durationText(static_cast<uint64_t>(std::max<int64_t>(now - then, 0))) + " ago";
}

std::string progressText(const Json& v) {
  if (!v["running"].get<bool>()) {
    return "idle";
  }
  uint64_t total = std::max<uint64_t>(v["bytesTotal"].get<uint64_t>(), 1);
  uint64_t percent = std::min<uint64_t>(v["bytesDone"].get<uint64_t>() * 100 / total, 100);
  return std::to_string(percent) + " %" + (v["fast"].get<bool>() ? ", fast" : "");
}

void printTable(const Json& volumes, int64_t now) {
  Table table({"SERVER", "VOLUME", "PASS", "READ", "PACE", "LAST WHOLE PASS", "BAD FOUND", "MENDED", "BAD NOW",
               "DIFFERING"});
  for (const auto& v : volumes) {
    table.add({v["server"], v["volume"].get<std::string>().substr(0, 8), progressText(v), sizeText(v["bytesDone"]),
               sizeText(v["bytesPerSecond"]) + "/s", agoText(v["lastPassEnded"], now), v["badBlocks"].dump(),
               v["mended"].dump(), v["unmended"].dump(), v["differing"].dump()});
  }
  table.print();
}

Task<Json> askServer(Context& context, ChunkDoors& doors, const ServerRecord& server, bool start) {
  auto door = co_await doors.door(server);
  auto request = door.scrubRequest();
  request.setStart(start);
  kj::Promise<Reply> sent = request.send();
  auto reply = co_await withDeadline(context.clock, ANSWER_LIMIT_OF_SERVER, kj::mv(sent), "scrub");
  Json out = Json::array();
  for (auto volume : reply.getVolumes()) {
    out.push_back(volumeJson(server.name, volume));
  }
  co_return out;
}

Task<int> askAll(Context& context, const Options& options, bool start) {
  auto found = co_await findMaster(context, FIND_LIMIT);
  if (!found.ok()) {
    co_return complainOf(found.error());
  }
  uint64_t noted = 0;
  if (start) {
    auto begun = co_await beginAction(context, found.value()->admin, "scrub start " + options.name);
    noted = begun.ok() ? begun.value() : 0;
  }
  auto map = co_await readMap(context, found.value()->admin);
  ChunkDoors doors(context, found.value()->cluster.cluster);
  Json volumes = Json::array();
  bool known = options.name.empty(), all = true;
  for (auto& [id, server] : map.servers) {
    if (!options.name.empty() && server.name != options.name) {
      continue;
    }
    known = true;
    try {
      auto answered = co_await askServer(context, doors, server, start);
      for (auto& volume : answered) {
        volumes.push_back(volume);
      }
    } catch (const kj::Exception& e) {
      all = false;
      std::cerr << "dfsadmin: chunkserver " << server.name << " does not answer: " << e.getDescription().cStr()
                << "; start it, or look at its log\n";
    }
  }
  Status outcome = known && all ? Status() : Status(Error{ENOENT, "not all servers that were meant have begun"});
  if (noted != 0) {
    co_await endAction(context, found.value()->admin, noted, outcome);
  }
  if (!known) {
    co_return complain(EXIT_REFUSED, "node-not-found",
                       "there is no server '" + options.name + "'; see: dfsadmin node list");
  }
  context.json ? printJson({{"volumes", volumes}}) : printTable(volumes, context.clock.wall() / SECOND);
  bool bad = std::any_of(volumes.begin(), volumes.end(), [](const Json& v) {
    return v["unmended"].get<uint64_t>() > 0 || v["differing"].get<uint64_t>() > 0;
  });
  co_return !all ? EXIT_UNREACHABLE : bad ? EXIT_DEGRADED : EXIT_HEALTHY;
}

}  // namespace

Task<int> startScrub(Context& context, const Options& options) {
  co_return co_await askAll(context, options, true);
}

Task<int> showScrub(Context& context, const Options& options) {
  co_return co_await askAll(context, options, false);
}

}  // namespace cairn::admin
