// What a master's metrics say besides its counters.
#include <capnp/message.h>

#include "master/admin_service.h"
#include "master/core.h"
#include "master/group.h"

namespace cairn {
namespace {

using Labels = MetricsSheet::Labels;

double number(uint64_t value) {
  return static_cast<double>(value);
}

void measureShards(wire::ShardCounts::Reader shards, MetricsSheet& sheet) {
  const std::pair<const char*, uint32_t> STATES[] = {{"healthy", shards.getHealthy()},
                                                     {"degraded", shards.getDegraded()},
                                                     {"at_risk", shards.getAtRisk()},
                                                     {"unavailable", shards.getUnavailable()},
                                                     {"misplaced", shards.getMisplaced()}};
  for (auto& [state, count] : STATES) {
    sheet.gauge("cairn_cluster_shards", "Shards by state; misplaced ones are counted besides", count,
                {{"state", state}});
  }
}

void measureVolumes(wire::ClusterStatus::Reader status, MetricsSheet& sheet) {
  for (auto server : status.getServers()) {
    sheet.gauge("cairn_cluster_server_up", "Whether the chunkserver answers", server.getOnline() ? 1 : 0,
                {{"server", server.getName().cStr()}, {"state", server.getState().cStr()}});
  }
}

void measureCluster(Core& core, MetricsSheet& sheet) {
  capnp::MallocMessageBuilder message;
  auto built = message.initRoot<wire::ClusterStatus>();
  writeStatus(core, built);
  auto status = built.asReader();
  std::string health = status.getHealth().cStr();
  sheet.gauge("cairn_cluster_health", "0 healthy, 1 degraded, 2 critical",
              health == "healthy" ? 0 : health == "critical" ? 2 : 1);
  std::map<std::string, uint64_t> codes;
  for (auto reason : status.getReasons()) {
    ++codes[reason.getCode().cStr()];
  }
  for (auto& [code, count] : codes) {
    sheet.gauge("cairn_cluster_reasons", "Why the cluster isn't healthy: how many of each kind", number(count),
                {{"code", code}});
  }
  measureShards(status.getShards(), sheet);
  measureVolumes(status, sheet);
  auto space = status.getSpace();
  sheet.gauge("cairn_cluster_raw_bytes", "Room for copies on all volumes", number(space.getRawTotalBytes()));
  sheet.gauge("cairn_cluster_raw_used_bytes", "Taken of it", number(space.getRawUsedBytes()));
  sheet.gauge("cairn_cluster_available_bytes", "What can still be written, copies reckoned",
              number(space.getAvailableBytes()));
  sheet.gauge("cairn_cluster_files", "Inodes", number(space.getFiles()));
  sheet.gauge("cairn_cluster_repair_bytes_left", "To be copied to where it belongs",
              number(status.getRepairBytesLeft()));
  sheet.gauge("cairn_cluster_repair_bytes_per_second", "How fast that goes", number(status.getRepairBytesPerSecond()));
  sheet.gauge("cairn_cluster_reclaim_backlog", "Deleted objects whose bytes wait for their removal",
              number(status.getReclaimBacklog()));
  sheet.gauge("cairn_cluster_sessions", "Mounted clients", number(status.getSessions()));
  uint64_t leases = 0, holds = 0;
  for (auto& session : core.sessions.table().list()) {
    leases += core.sessions.leases().count(session.id);
    holds += session.holds;
  }
  sheet.gauge("cairn_cluster_leases", "Leases of all clients", number(leases));
  sheet.gauge("cairn_cluster_open_files", "Files that clients hold open", number(holds));
  sheet.counter("cairn_cluster_lease_recalls_total", "Leases asked for back since this master leads",
                number(core.sessions.leases().recalls()));
}

}  // namespace

void measureMaster(Replica& replica, Core* core, MetricsSheet& sheet) {
  auto& group = replica.group();
  auto status = group.status();
  auto log = group.logStanding();
  sheet.gauge("cairn_raft_leader", "Whether this master leads", replica.isLeader() ? 1 : 0);
  sheet.gauge("cairn_raft_term", "The term that it knows of", number(raw(status.term)));
  sheet.gauge("cairn_raft_commit_index", "The last entry known to be committed", number(raw(status.commit)));
  sheet.gauge("cairn_raft_applied_index", "The last entry applied to the state", number(raw(status.applied)));
  sheet.gauge("cairn_raft_snapshot_index", "The entry of the newest snapshot", number(raw(log.snapshot)));
  sheet.gauge("cairn_raft_log_bytes", "Of the log since the newest snapshot", number(log.bytesSinceSnapshot));
  if (core == nullptr) {
    return;
  }
  for (auto& member : status.members) {
    sheet.gauge("cairn_raft_member_reachable", "Whether the leader hears of the member", member.reachable ? 1 : 0,
                {{"member", member.name}});
    sheet.gauge("cairn_raft_member_match_index", "How far the member's log is known to be durable",
                number(raw(member.match)), {{"member", member.name}});
  }
  measureCluster(*core, sheet);
}

}  // namespace cairn
