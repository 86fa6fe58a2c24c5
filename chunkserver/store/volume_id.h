// volume.id: whose directory this is. Text, so that people can read it:
//
//   cairnfs volume 1
//   cluster <32 hex digits>
//   server <32 hex digits>
//   volume <32 hex digits>
//   checksum <16 hex digits>      XXH3 of the lines above
#pragma once
#include <string>

#include "chunkserver/store/volume_store.h"
#include "common/disk.h"
#include "common/random.h"
#include "common/result.h"

namespace cairn {

constexpr const char* VOLUME_ID_FILE = "volume.id";
constexpr uint32_t VOLUME_FORMAT = 1;

std::string encodeVolumeId(const VolumeIdentity& identity);
// `path` is for the message.
Result<VolumeIdentity> decodeVolumeId(std::string_view text, const std::string& path);

struct ClaimedVolume {
  kj::Own<DirectoryLock> lock;
  VolumeIdentity identity;
  bool created = false;
};
// Locks the directory, reads or makes volume.id, and refuses whatever isn't ours.
Result<ClaimedVolume> claimVolume(Disk& disk, Random& random, const VolumeOptions& options);

}  // namespace cairn
