#include "chunkserver/measure.h"

namespace cairn {
namespace {

double number(uint64_t value) {
  return static_cast<double>(value);
}

}  // namespace

void measureReplicas(Replicator& replicator, MetricsSheet& sheet) {
  uint64_t primary = 0, inSync = 0, joining = 0;
  for (auto& [key, unit] : replicator.units()) {
    primary += unit->state.role == Role::PRIMARY;
    inSync += unit->state.role == Role::IN_SYNC;
    joining += unit->state.role == Role::JOINING;
  }
  const std::pair<const char*, uint64_t> ROLES[] = {{"primary", primary}, {"in_sync", inSync}, {"joining", joining}};
  for (auto& [role, count] : ROLES) {
    sheet.gauge("cairn_chunkserver_shards", "Shards that it has a copy of, by its part in them", number(count),
                {{"role", role}});
  }
  sheet.counter("cairn_chunkserver_repair_bytes_total", "Fetched from others for copies that it should have",
                number(replicator.around().takenOverBytes));
}

void measureVolume(const VolumeStanding& volume, MetricsSheet& sheet) {
  MetricsSheet::Labels labels{{"volume", toText(volume.id)}};
  sheet.gauge("cairn_volume_usable", "Whether the volume is in use", volume.failed.empty() ? 1 : 0, labels);
  if (volume.local == nullptr) {
    return;
  }
  auto& store = *volume.local->store;
  auto space = store.space();
  auto counters = store.counters();
  sheet.gauge("cairn_volume_bytes", "Room on the volume", number(space.totalBytes), labels);
  sheet.gauge("cairn_volume_used_bytes", "Taken of it", number(space.takenBytes), labels);
  sheet.gauge("cairn_volume_available_bytes", "Left for new data", number(space.availableBytes), labels);
  sheet.gauge("cairn_volume_retired_bytes", "Of deleted chunks that are kept for a while", number(space.retiredBytes),
              labels);
  sheet.gauge("cairn_volume_bad_blocks", "Blocks that don't match their checksums now", number(counters.badBlocks),
              labels);
  sheet.counter("cairn_volume_bad_blocks_found_total", "Such blocks since the start", number(counters.badBlocksFound),
                labels);
  sheet.counter("cairn_volume_mended_blocks_total", "Bad blocks replaced from another copy",
                number(counters.mendedBlocks), labels);
  sheet.counter("cairn_volume_unreadable_blocks_total", "Blocks for which the device gave an error",
                number(counters.unreadableBlocks), labels);
  sheet.counter("cairn_volume_file_syncs_total", "Syncs of chunk files", number(counters.fileSyncs), labels);
  sheet.counter("cairn_volume_index_syncs_total", "Syncs of the index", number(counters.indexSyncs), labels);
  sheet.gauge("cairn_volume_slow", "Whether the disk takes far longer than it should", store.slow() ? 1 : 0, labels);
  sheet.gauge("cairn_volume_cached_bytes", "Of small chunks, in memory", number(counters.cachedBytes), labels);
}

}  // namespace cairn
