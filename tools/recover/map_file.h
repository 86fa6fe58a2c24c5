// The map: what scans have found, kept while they run, so that a scan that was interrupted goes on. A directory:
//
//   cluster          of which cluster the disks are
//   disks/<volume>   a line of JSON for the disk, then one a copy; a last one when the scan has come to its end
//   names/           a master's data directory, made from the newest capsule and log tail (names.h)
#pragma once
#include <set>
#include <string>
#include <vector>

#include "common/disk.h"
#include "tools/recover/found.h"

namespace cairn::rescue {

// Appends what a scan finds. For one disk; used by the thread that scans it.
class MapWriter {
 public:
  // Goes on with what an interrupted scan has left: `before` gets it.
  static Result<kj::Own<MapWriter>> open(Disk& map, const FoundDisk& disk, FoundDisk& before);
  MapWriter(kj::Own<File> file, uint64_t end) : file_(kj::mv(file)), end_(end) {}

  Status add(const FoundCopy& copy);
  Status finish(const FoundDisk& disk);

 private:
  static constexpr size_t GATHERED_BYTES = 64 << 10;
  Status put(const std::string& line, bool now);

  kj::Own<File> file_;
  uint64_t end_;
  std::string gathered_;
};

Result<std::vector<FoundDisk>> readMap(Disk& map);

}  // namespace cairn::rescue
