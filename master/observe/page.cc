// The status page's data.
#include <capnp/message.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "master/admin_service.h"
#include "master/core.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

constexpr int FORM = 1;  // rises when a key is taken away or changes its meaning

double millis(Nanos time) {
  return static_cast<double>(time / MICROSECOND) / 1000;
}

double rounded(double value) {
  return std::round(value * 10) / 10;
}

Json reasonsOf(wire::ClusterStatus::Reader status) {
  Json out = Json::array();
  for (auto reason : status.getReasons()) {
    out.push_back({{"code", reason.getCode().cStr()},
                   {"text", reason.getText().cStr()},
                   {"action", reason.getAction().cStr()},
                   {"critical", reason.getCritical()}});
  }
  return out;
}

Json mastersOf(wire::ClusterStatus::Reader status) {
  Json out = Json::array();
  for (auto master : status.getMasters()) {
    out.push_back({{"name", master.getName().cStr()},
                   {"address", master.getAddress().cStr()},
                   {"role", master.getRole().cStr()},
                   {"term", master.getTerm()},
                   {"commitIndex", master.getCommitIndex()},
                   {"appliedIndex", master.getAppliedIndex()}});
  }
  return out;
}

Json volumesOf(wire::ServerStatus::Reader server) {
  Json out = Json::array();
  for (auto volume : server.getVolumes()) {
    out.push_back({{"id", toText(fromWire<VolumeTag>(volume.getId()))},
                   {"state", volume.getState().cStr()},
                   {"usedBytes", volume.getUsedBytes()},
                   {"totalBytes", volume.getTotalBytes()},
                   {"badBlocks", volume.getBadBlocks()},
                   {"unmendedBlocks", volume.getUnmendedBlocks()},
                   {"slow", volume.getSlow()}});
  }
  return out;
}

Json loadOf(const WorkLoad* load, Nanos now) {
  static const WorkLoad NOTHING{};
  const WorkLoad& known = load == nullptr ? NOTHING : *load;
  return {{"operationsPerSecond", rounded(known.operationRate.perSecond(now))},
          {"readBytesPerSecond", rounded(known.readRate.perSecond(now))},
          {"writeBytesPerSecond", rounded(known.writeRate.perSecond(now))},
          {"errors", known.errors},
          {"slow", known.slow}};
}

Json serversOf(Core& core, wire::ClusterStatus::Reader status, Nanos now) {
  Json out = Json::array();
  auto& records = core.replica.reader().map().servers;
  auto record = records.begin();
  for (auto server : status.getServers()) {  // in the map's order
    auto& loads = core.observation.loads.servers();
    auto found = record == records.end() ? loads.end() : loads.find((record++)->first);
    const WorkLoad* load = found == loads.end() ? nullptr : &found->second;
    Json entry = {{"name", server.getName().cStr()},   {"address", server.getAddress().cStr()},
                  {"state", server.getState().cStr()}, {"online", server.getOnline()},
                  {"rack", server.getRack().cStr()},   {"zone", server.getZone().cStr()},
                  {"volumes", volumesOf(server)},      {"load", loadOf(load, now)}};
    out.push_back(std::move(entry));
  }
  return out;
}

Json clientsOf(Core& core, Nanos now) {
  Json out = Json::array();
  auto& loads = core.observation.loads.clients();
  for (auto& session : core.sessions.table().list()) {
    auto found = loads.find(session.id);
    out.push_back({{"session", raw(session.id)},
                   {"name", session.name},
                   {"attached", session.attached},
                   {"openFiles", session.holds},
                   {"load", loadOf(found == loads.end() ? nullptr : &found->second, now)}});
  }
  return out;
}

Json operationsOf(Core& core, Nanos now) {
  Json out = Json::array();
  core.observation.metrics.each([&out](const char* name, const OperationMetric& metric) {
    if (metric.latency.count() > 0) {
      out.push_back({{"at", "master"},
                     {"kind", name},
                     {"count", metric.latency.count()},
                     {"errors", metric.errors},
                     {"p50Millis", millis(metric.latency.quantile(0.5))},
                     {"p99Millis", millis(metric.latency.quantile(0.99))}});
    }
  });
  std::map<std::string, KindLoad> kinds;
  std::map<std::string, double> rates;
  for (auto& [server, load] : core.observation.loads.servers()) {
    for (auto& [name, kind] : load.kinds) {
      kinds[name].count += kind.count;
      kinds[name].errors += kind.errors;
      kinds[name].p99 = std::max(kinds[name].p99, kind.p99);
      rates[name] += kind.rate.perSecond(now);
    }
  }
  for (auto& [name, kind] : kinds) {
    out.push_back({{"at", "chunkservers"},
                   {"kind", name},
                   {"count", kind.count},
                   {"errors", kind.errors},
                   {"perSecond", rounded(rates[name])},
                   {"p99Millis", millis(kind.p99)}});
  }
  return out;
}

Json slowOf(Core& core) {
  std::map<SessionId, std::string> names;
  for (auto& session : core.sessions.table().list()) {
    names[session.id] = session.name;
  }
  Json out = Json::array();
  auto& slow = core.observation.loads.slow();
  for (auto call = slow.rbegin(); call != slow.rend(); ++call) {
    out.push_back({{"time", call->at},
                   {"session", raw(call->session)},
                   {"client", names[call->session]},
                   {"kind", call->kind},
                   {"inode", call->inode},
                   {"millis", millis(call->took)},
                   {"path", call->path}});
  }
  return out;
}

Json timelineOf(const Timeline& timeline) {
  Json out = {{"stepSeconds", Timeline::STEP / SECOND}, {"end", timeline.endSeconds()}};
  auto series = [&](const char* name, auto value) {
    Json values = Json::array();
    for (auto& point : timeline.points()) {
      values.push_back(value(point));
    }
    out[name] = std::move(values);
  };
  series("metadataPerSecond", [](const TimePoint& p) { return rounded(p.metadataPerSecond); });
  series("errorsPerSecond", [](const TimePoint& p) { return rounded(p.errorsPerSecond); });
  series("readBytesPerSecond", [](const TimePoint& p) { return std::round(p.readBytesPerSecond); });
  series("writeBytesPerSecond", [](const TimePoint& p) { return std::round(p.writeBytesPerSecond); });
  series("repairBytesPerSecond", [](const TimePoint& p) { return std::round(p.repairBytesPerSecond); });
  series("metadataP50Millis", [](const TimePoint& p) { return millis(p.metadataP50); });
  series("metadataP99Millis", [](const TimePoint& p) { return millis(p.metadataP99); });
  series("readP99Millis", [](const TimePoint& p) { return millis(p.readP99); });
  series("writeP99Millis", [](const TimePoint& p) { return millis(p.writeP99); });
  return out;
}

Json eventsOf(const Events& events) {
  Json out = Json::array();
  for (auto event = events.list().rbegin(); event != events.list().rend(); ++event) {
    out.push_back({{"time", event->at}, {"level", toText(event->level)}, {"text", event->text}});
  }
  return out;
}

Json amountsOf(wire::ClusterStatus::Reader status) {
  auto shards = status.getShards();
  auto space = status.getSpace();
  uint64_t left = status.getRepairBytesLeft(), rate = status.getRepairBytesPerSecond();
  Json eta = rate == 0 ? Json() : Json(left / rate);
  return {{"shards",
           {{"total", shards.getTotal()},
            {"healthy", shards.getHealthy()},
            {"degraded", shards.getDegraded()},
            {"atRisk", shards.getAtRisk()},
            {"unavailable", shards.getUnavailable()},
            {"misplaced", shards.getMisplaced()}}},
          {"repair", {{"bytesLeft", left}, {"bytesPerSecond", rate}, {"etaSeconds", left == 0 ? Json(0) : eta}}},
          {"space",
           {{"rawBytes", space.getRawTotalBytes()},
            {"usedBytes", space.getRawUsedBytes()},
            {"availableBytes", space.getAvailableBytes()},
            {"files", space.getFiles()}}}};
}

}  // namespace

std::string pageOf(Core& core) {
  capnp::MallocMessageBuilder message;
  auto built = message.initRoot<wire::ClusterStatus>();
  writeStatus(core, built);
  auto status = built.asReader();
  Nanos now = core.clock.monotonic();
  Json out = {{"form", FORM},
              {"time", core.observation.wallSeconds()},
              {"cluster", toText(core.cluster.cluster)},
              {"version", core.version},
              {"leader", core.name},
              {"health", status.getHealth().cStr()},
              {"reasons", reasonsOf(status)},
              {"masters", mastersOf(status)},
              {"servers", serversOf(core, status, now)}};
  out.update(amountsOf(status));
  out["clients"] = clientsOf(core, now);
  out["operations"] = operationsOf(core, now);
  out["slow"] = slowOf(core);
  out["timeline"] = timelineOf(core.observation.timeline);
  out["events"] = eventsOf(core.observation.events);
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace cairn
