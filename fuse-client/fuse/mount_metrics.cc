#include "fuse-client/fuse/mount_metrics.h"

#include <cerrno>
#include <map>

#include "common/log.h"

namespace cairn {

void MountMetrics::answered(const char* kind, InodeId inode, Nanos since, int code, bool mayBeLong) {
  auto& metric = operations_[kind];
  if (metric == nullptr) {
    metric = std::make_unique<OperationMetric>();
  }
  Nanos now = clock_.monotonic();
  metric->latency.add(now - since);
  bool failed = code == EIO;
  metric->errors += failed;
  auto path = client_.answered(kind, inode, mayBeLong ? now : since, failed);
  if (path && lines_.take(now)) {
    spdlog::warn("slow: {} of inode {} took {}: {}", kind, raw(inode), milliseconds(now - since), *path);
  }
}

void MountMetrics::measure(MetricsSheet& sheet) const {
  std::map<std::string, OperationMetric> byKind;
  for (auto& [name, metric] : operations_) {
    byKind[name].latency.add(metric->latency);
    byKind[name].errors += metric->errors;
  }
  for (auto& [name, metric] : byKind) {
    sheet.operation("mount", name.c_str(), metric);
  }
  ClientStats now = client_.stats();
  struct Line {
    const char* name;
    const char* help;
    uint64_t value;
  };
  const Line COUNTERS[] = {
      {"cairn_mount_read_bytes_total", "Read by programs, but for what the kernel had", now.bytesRead},
      {"cairn_mount_written_bytes_total", "Written by programs", now.bytesWritten},
      {"cairn_mount_resent_bytes_total", "Sent again, after a chunkserver was lost", now.bytesResent},
      {"cairn_mount_master_calls_total", "Calls to the masters", now.masterCalls},
      {"cairn_mount_master_retries_total", "Of them, made again", now.masterRetries},
      {"cairn_mount_chunk_calls_total", "Calls to chunkservers", now.chunkCalls},
      {"cairn_mount_chunk_retries_total", "Of them, made again", now.chunkRetries},
      {"cairn_mount_hedged_reads_total", "Reads asked of a second copy, for the first was slow", now.hedgedReads},
      {"cairn_mount_bad_blocks_total", "Blocks that didn't match their checksums and were read elsewhere",
       now.badBlocks},
      {"cairn_mount_cached_lookups_total", "Names answered from memory, under a lease", now.leasedLookups},
      {"cairn_mount_cached_attributes_total", "Attributes answered from memory, under a lease", now.leasedAttributes},
      {"cairn_mount_lease_recalls_total", "Leases asked for back", now.recalls},
      {"cairn_mount_errors_reported_total", "Lost writes that a program was told of", now.errorsReported},
      {"cairn_mount_slow_operations_total", "Calls that took longer than --slow-ms", now.slowOperations},
  };
  for (auto& line : COUNTERS) {
    sheet.counter(line.name, line.help, static_cast<double>(line.value));
  }
  const Line GAUGES[] = {
      {"cairn_mount_open_files", "Open files", now.openHandles},
      {"cairn_mount_inodes", "Inodes that something is known of", now.inodes},
      {"cairn_mount_dirty_bytes", "Written and not yet at the chunkservers", now.dirtyBytes},
      {"cairn_mount_unsynced_bytes", "At the chunkservers and not yet known durable", now.unsyncedBytes},
      {"cairn_mount_read_ahead_bytes", "Read ahead of programs", now.readAheadBytes},
  };
  for (auto& line : GAUGES) {
    sheet.gauge(line.name, line.help, static_cast<double>(line.value));
  }
  sheet.gauge("cairn_mount_attached", "Whether a master serves it", client_.master().attached ? 1 : 0);
}

}  // namespace cairn
